#pragma once
// What the events of a streamed completion say, of the completions and of the chat endpoint.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace iol::bench {

/// Gathers one answer. Every refusal is an InputError of one line.
class CompletionStream {
 public:
  /// One event's data: a JSON chunk, or "[DONE]". Returns true when it brought text. Throws
  /// InputError for what is no chunk, and for an error that the server reports.
  bool add(std::string_view data);

  /// The server said that the answer is complete: a finish reason or [DONE].
  [[nodiscard]] bool finished() const { return finished_; }
  [[nodiscard]] const std::string& text() const { return text_; }
  [[nodiscard]] const std::string& finish_reason() const { return finish_reason_; }
  // As the server's `usage` says; nothing without it.
  [[nodiscard]] std::optional<std::int64_t> prompt_tokens() const { return prompt_tokens_; }
  [[nodiscard]] std::optional<std::int64_t> completion_tokens() const { return completion_tokens_; }
  [[nodiscard]] std::optional<std::int64_t> cached_tokens() const { return cached_tokens_; }

 private:
  std::string text_;
  std::string finish_reason_;
  bool finished_ = false;
  std::optional<std::int64_t> prompt_tokens_;
  std::optional<std::int64_t> completion_tokens_;
  std::optional<std::int64_t> cached_tokens_;
};

/// The message of an error document in OpenAI's form, or the beginning of whatever it is, in one
/// line.
std::string error_message_of(std::string_view body);

}  // namespace iol::bench
