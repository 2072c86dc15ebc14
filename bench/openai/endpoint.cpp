#include "bench/openai/endpoint.h"

#include <algorithm>
#include <cctype>
#include <set>
#include <string_view>

#include "base/error.h"

namespace iol::bench {
namespace {

constexpr std::string_view kPrefix = "openai:";

[[noreturn]] void refuse(const std::string& url, std::string_view problem) {
  throw_input_error(
      "--engines openai:{}: {}; expected http[s]://HOST[:PORT][/v1[/chat/completions]]", url,
      problem);
}

bool is_printable(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](unsigned char c) { return c > 0x20 && c < 0x7f; });
}

/// Splits "HOST[:PORT]", where HOST may be an IPv6 address in brackets.
void take_authority(std::string_view authority, Endpoint& endpoint) {
  std::string_view port;
  if (authority.starts_with('[')) {
    const auto close = authority.find(']');
    if (close == std::string_view::npos) refuse(endpoint.url, "a bracket that isn't closed");
    endpoint.host = authority.substr(1, close - 1);
    authority.remove_prefix(close + 1);
    if (!authority.empty() && !authority.starts_with(':')) refuse(endpoint.url, "no port");
    if (!authority.empty()) port = authority.substr(1);
  } else {
    const auto colon = authority.find(':');
    endpoint.host = authority.substr(0, colon);
    if (colon != std::string_view::npos) port = authority.substr(colon + 1);
    if (colon != std::string_view::npos && port.empty()) refuse(endpoint.url, "an empty port");
  }
  if (endpoint.host.empty()) refuse(endpoint.url, "no host");
  endpoint.port = port.empty() ? (endpoint.tls ? "443" : "80") : std::string(port);
  const bool digits = std::all_of(endpoint.port.begin(), endpoint.port.end(),
                                  [](unsigned char c) { return std::isdigit(c) != 0; });
  if (!digits || endpoint.port.size() > 5 || std::stoi(endpoint.port) < 1 ||
      std::stoi(endpoint.port) > 65535) {
    refuse(endpoint.url, "a port that is none");
  }
}

void take_path(std::string path, Endpoint& endpoint) {
  while (path.ends_with('/')) path.pop_back();
  constexpr std::string_view kChat = "/chat/completions";
  constexpr std::string_view kCompletions = "/completions";
  if (path.find_first_of("?#") != std::string::npos) refuse(endpoint.url, "a query");
  if (path.ends_with(kChat)) {
    endpoint.chat = true;
    endpoint.base = path.substr(0, path.size() - kChat.size());
    endpoint.path = path;
  } else if (path.ends_with(kCompletions)) {
    endpoint.base = path.substr(0, path.size() - kCompletions.size());
    endpoint.path = path;
  } else {
    endpoint.base = path.empty() ? "/v1" : path;
    endpoint.path = endpoint.base + std::string(kCompletions);
  }
}

}  // namespace

Endpoint parse_endpoint(const std::string& url, const std::string& name) {
  Endpoint endpoint;
  endpoint.url = url;
  std::string_view rest = url;
  if (!is_printable(rest)) refuse(url, "a character that no URL has");
  if (rest.starts_with("http://")) {
    rest.remove_prefix(7);
  } else if (rest.starts_with("https://")) {
    endpoint.tls = true;
    rest.remove_prefix(8);
  } else {
    refuse(url, "no http:// or https://");
  }
  const auto slash = rest.find('/');
  const std::string_view authority = rest.substr(0, slash);
  if (authority.find('@') != std::string_view::npos) {
    refuse(url, "a user in a URL, which the records would keep; give the key in OPENAI_API_KEY");
  }
  take_authority(authority, endpoint);
  take_path(slash == std::string_view::npos ? "" : std::string(rest.substr(slash)), endpoint);
  endpoint.name = name.empty() ? endpoint.host + ":" + endpoint.port : name;
  return endpoint;
}

std::vector<Endpoint> take_endpoints(std::vector<std::string>& engines) {
  std::vector<Endpoint> endpoints;
  std::vector<std::string> others;
  std::set<std::string> names = {"iol", "pytorch", "pytorch-eager", "pytorch-compiled"};
  for (std::size_t i = 0; i < engines.size(); ++i) {
    if (!engines[i].starts_with(kPrefix)) {
      others.push_back(engines[i]);
      continue;
    }
    const std::string url = engines[i].substr(kPrefix.size());
    std::string name;
    const bool next_is_name = i + 1 < engines.size() && !engines[i + 1].starts_with(kPrefix) &&
                              engines[i + 1] != "iol" && engines[i + 1] != "pytorch";
    if (next_is_name) name = engines[++i];
    endpoints.push_back(parse_endpoint(url, name));
    if (!names.insert(endpoints.back().name).second) {
      throw_input_error(
          "--engines openai:{}: two subjects are called {}; give it another name: "
          "openai:URL,NAME",
          url, endpoints.back().name);
    }
  }
  engines = std::move(others);
  return endpoints;
}

}  // namespace iol::bench
