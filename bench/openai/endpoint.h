#pragma once
// Where an OpenAI-compatible server is and how it wants to be spoken to.
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace iol::bench {

/// A server as `--engines openai:URL[,name]` names it.
struct Endpoint {
  std::string name;  // of the subject
  std::string url;   // as given
  bool tls = false;
  std::string host;
  std::string port;
  std::string path;   // of the completions: /v1/completions
  std::string base;   // what /models is under: /v1
  bool chat = false;  // the chat endpoint's form
};

/// `url` is http:// or https://, a host, a port and a path: none or one that ends in /v1 (then the
/// completions below it are used), or one that ends in /completions or /chat/completions. Throws
/// InputError naming --engines, the URL and what is accepted; a URL with user and password is
/// refused, since records hold it.
Endpoint parse_endpoint(const std::string& url, const std::string& name);

/// The words of --engines, in which commas also stand before a server's name: `openai:URL` takes
/// the next word as its name when that is neither an engine nor another server. Returns the
/// servers and leaves the others in `engines`. Throws InputError for a name that is taken.
std::vector<Endpoint> take_endpoints(std::vector<std::string>& engines);

}  // namespace iol::bench
