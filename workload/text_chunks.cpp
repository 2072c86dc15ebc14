#include "workload/text_chunks.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"

namespace iol {
namespace {

constexpr std::size_t kBlock = 1 << 20;

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

}  // namespace

TextChunks::TextChunks(ByteSource source)
    : source_(std::move(source)), buffer_(2 * kBlock + kPadding) {}

bool TextChunks::fill() {
  if (ended_) return false;
  if (begin_ > 0) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  if (end_ > kLongestPiece) {
    throw_input_error("{}:{}: a line or object of more than 64 MiB; this is no trace of requests",
                      path(), line_ + 1);
  }
  if (buffer_.size() < end_ + kBlock + kPadding) buffer_.resize(2 * (end_ + kBlock) + kPadding);
  const std::size_t count = source_.read(buffer_.data() + end_, kBlock);
  end_ += count;
  ended_ = count < kBlock;
  return count > 0;
}

std::optional<char> TextChunks::first_character() {
  if (end_ == 0) fill();
  if (end_ - begin_ >= 3 && std::memcmp(buffer_.data() + begin_, "\xEF\xBB\xBF", 3) == 0) {
    begin_ += 3;
  }
  std::size_t place = begin_;
  while (true) {
    while (place < end_ && is_space(buffer_[place])) ++place;
    if (place < end_) return buffer_[place];
    const std::size_t behind = place - begin_;
    if (!fill()) return std::nullopt;
    place = begin_ + behind;
  }
}

std::optional<std::string_view> TextChunks::next_line() {
  std::size_t searched = 0;
  while (true) {
    const char* from = buffer_.data() + begin_ + searched;
    const auto* found = static_cast<const char*>(std::memchr(from, '\n', end_ - begin_ - searched));
    if (found != nullptr || ended_) {
      if (found == nullptr && begin_ == end_) return std::nullopt;
      const char* start = buffer_.data() + begin_;
      std::size_t size = (found != nullptr ? found : buffer_.data() + end_) - start;
      begin_ += size + (found != nullptr ? 1 : 0);
      if (size > 0 && start[size - 1] == '\r') --size;
      ++line_;
      return std::string_view(start, size);
    }
    searched = end_ - begin_;
    fill();
  }
}

void TextChunks::skip_to_object() {
  while (true) {
    while (begin_ < end_) {
      const char c = buffer_[begin_];
      if (c == '{' && in_array_) return;
      if (c == ']' && in_array_) return;
      lines_consumed_ += c == '\n' ? 1 : 0;
      if (c == '[' && !in_array_) {
        in_array_ = true;
      } else if (!is_space(c) && !(c == ',' && in_array_)) {
        throw_input_error("{}:{}: not an array of JSON objects; the file is damaged or foreign",
                          path(), lines_consumed_ + 1);
      }
      ++begin_;
    }
    if (!fill()) {
      throw_input_error("{}:{}: the JSON array is cut off", path(), lines_consumed_ + 1);
    }
  }
}

/// Offset from begin_ just behind the object that starts there. Strings are skipped as a whole, so
/// that braces inside them count for nothing.
std::size_t TextChunks::find_object_end() {
  std::size_t depth = 0;
  bool in_string = false;
  std::size_t offset = 0;
  while (true) {
    for (; begin_ + offset < end_; ++offset) {
      const char c = buffer_[begin_ + offset];
      lines_consumed_ += c == '\n' ? 1 : 0;
      if (in_string) {
        if (c == '\\') {
          ++offset;  // what is escaped is skipped; a cut-off end is found below
        } else if (c == '"') {
          in_string = false;
        }
      } else if (c == '"') {
        in_string = true;
      } else if (c == '{' || c == '[') {
        ++depth;
      } else if (c == '}' || c == ']') {
        if (--depth == 0) return offset + 1;
      }
    }
    if (!fill()) {
      throw_input_error("{}:{}: the JSON array is cut off", path(), lines_consumed_ + 1);
    }
  }
}

std::optional<std::string_view> TextChunks::next_object() {
  skip_to_object();
  if (buffer_[begin_] == ']') return std::nullopt;
  line_ = lines_consumed_ + 1;
  const std::size_t size = find_object_end();
  const std::string_view object(buffer_.data() + begin_, size);
  begin_ += size;
  return object;
}

}  // namespace iol
