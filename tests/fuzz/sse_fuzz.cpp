// SseParser and CompletionStream: bad input is an InputError of one line, and where the stream is
// cut changes nothing.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "bench/openai/completion_stream.h"
#include "bench/openai/sse_parser.h"

namespace {

/// What came of a stream that arrives in pieces of `piece` bytes.
std::vector<std::string> outcome(std::string_view bytes, std::size_t piece) {
  std::vector<std::string> seen;
  iol::bench::SseParser events;
  iol::bench::CompletionStream answer;
  try {
    for (std::size_t at = 0; at < bytes.size(); at += piece) {
      events.feed(bytes.substr(at, piece), [&](std::string_view data) {
        seen.emplace_back(data);
        answer.add(data);
      });
    }
  } catch (const iol::InputError& error) {
    if (std::string_view(error.what()).find('\n') != std::string_view::npos) std::abort();
    seen.emplace_back(error.what());
  }
  seen.push_back(answer.text());
  return seen;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (outcome(bytes, 1 + data[0] % 32) != outcome(bytes, bytes.size() + 1)) std::abort();
  static_cast<void>(iol::bench::error_message_of(bytes));
  return 0;
}
