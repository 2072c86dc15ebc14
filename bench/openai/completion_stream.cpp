#include "bench/openai/completion_stream.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace iol::bench {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxMessageBytes = 200;

/// As it may stand in a message of one line.
std::string one_line(std::string_view text) {
  std::string line(text.substr(0, kMaxMessageBytes));
  std::replace_if(
      line.begin(), line.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
  if (text.size() > kMaxMessageBytes) line += "...";
  return line;
}

const json* find_object(const json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_object() ? &*found : nullptr;
}

std::string string_of(const json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

/// A count that makes sense; nothing when absent or null.
std::optional<std::int64_t> count_of(const json& object, const char* name) {
  const auto found = object.find(name);
  if (found == object.end() || found->is_null()) return std::nullopt;
  constexpr std::int64_t kMost = std::int64_t{1} << 40;
  if (found->is_number_unsigned() && found->get<std::uint64_t>() <= std::uint64_t{kMost}) {
    return found->get<std::int64_t>();
  }
  throw_input_error("usage.{} is {}, which is no count", name, one_line(found->dump()));
}

/// "message" of an `error` object, or the error itself when it is a text.
std::optional<std::string> error_of(const json& document) {
  const auto error = document.find("error");
  if (error == document.end() || error->is_null()) return std::nullopt;
  if (error->is_string()) return one_line(error->get<std::string>());
  if (error->is_object()) {
    const std::string message = string_of(*error, "message");
    if (!message.empty()) return one_line(message);
  }
  return one_line(error->dump(-1, ' ', false, json::error_handler_t::replace));
}

/// Of either endpoint: choices[0].text, or choices[0].delta.content with what models that think
/// aloud put beside it.
std::string text_of(const json& choice) {
  std::string text = string_of(choice, "text");
  if (const json* delta = find_object(choice, "delta")) {
    text += string_of(*delta, "reasoning_content");
    text += string_of(*delta, "content");
  }
  return text;
}

}  // namespace

bool CompletionStream::add(std::string_view data) {
  if (data == "[DONE]") {
    finished_ = true;
    return false;
  }
  const json chunk = json::parse(data, nullptr, /*allow_exceptions=*/false);
  if (!chunk.is_object()) {
    throw_input_error("sent '{}', which is no completion chunk", one_line(data));
  }
  if (const auto error = error_of(chunk)) throw_input_error("reported an error: {}", *error);
  if (const json* usage = find_object(chunk, "usage")) {
    prompt_tokens_ = count_of(*usage, "prompt_tokens");
    completion_tokens_ = count_of(*usage, "completion_tokens");
    if (const json* details = find_object(*usage, "prompt_tokens_details")) {
      cached_tokens_ = count_of(*details, "cached_tokens");
    }
  }
  const auto choices = chunk.find("choices");
  if (choices == chunk.end() || !choices->is_array() || choices->empty()) return false;
  const json& choice = choices->front();
  if (!choice.is_object()) {
    throw_input_error("sent '{}', which is no completion chunk", one_line(data));
  }
  if (const std::string reason = string_of(choice, "finish_reason"); !reason.empty()) {
    finish_reason_ = reason;
    finished_ = true;
  }
  const std::string text = text_of(choice);
  text_ += text;
  return !text.empty();
}

std::string error_message_of(std::string_view body) {
  const json document = json::parse(body, nullptr, /*allow_exceptions=*/false);
  if (document.is_object()) {
    if (const auto error = error_of(document)) return *error;
    for (const char* name : {"message", "detail"}) {
      const auto found = document.find(name);
      if (found == document.end()) continue;
      return one_line(found->is_string()
                          ? found->get<std::string>()
                          : found->dump(-1, ' ', false, json::error_handler_t::replace));
    }
  }
  return body.empty() ? "no message" : one_line(body);
}

}  // namespace iol::bench
