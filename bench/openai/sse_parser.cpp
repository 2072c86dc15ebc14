#include "bench/openai/sse_parser.h"

#include <utility>

#include "base/error.h"

namespace iol::bench {
namespace {

constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

}  // namespace

void SseParser::feed(std::string_view bytes,
                     const std::function<void(std::string_view)>& on_event) {
  for (const char c : bytes) {
    const bool follows_cr = std::exchange(after_cr_, false);
    if (c == '\n' && follows_cr) continue;
    if (c == '\n' || c == '\r') {
      after_cr_ = c == '\r';
      end_line(on_event);
      continue;
    }
    line_ += c;
    if (line_.size() + data_.size() > kMaxEventBytes) {
      throw_input_error("an event of more than {} bytes", kMaxEventBytes);
    }
  }
}

void SseParser::end_line(const std::function<void(std::string_view)>& on_event) {
  std::string_view line = line_;
  if (std::exchange(at_start_, false) && line.starts_with(kByteOrderMark)) {
    line.remove_prefix(kByteOrderMark.size());
  }
  if (line.empty()) {
    if (std::exchange(has_data_, false)) {
      on_event(data_);
      data_.clear();
    }
  } else if (line.substr(0, line.find(':')) == "data") {
    const auto colon = line.find(':');
    std::string_view value = colon == std::string_view::npos ? "" : line.substr(colon + 1);
    if (value.starts_with(' ')) value.remove_prefix(1);
    if (has_data_) data_ += '\n';
    data_ += value;
    has_data_ = true;
  }
  line_.clear();
}

}  // namespace iol::bench
