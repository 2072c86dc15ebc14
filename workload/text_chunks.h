#pragma once
// A text file piece by piece in bounded memory: its lines, or the objects of one large JSON array.
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "workload/byte_source.h"

namespace iol {

/// Reads ahead in large blocks. Every piece is followed by at least kPadding readable bytes, as
/// simdjson asks for. A piece is valid until the next one is asked for.
class TextChunks {
 public:
  static constexpr std::size_t kPadding = 64;
  /// A longer line or object belongs to no trace of requests, and would need its own size in
  /// memory.
  static constexpr std::size_t kLongestPiece = 64 << 20;

  explicit TextChunks(ByteSource source);

  /// The first byte that isn't white space or a byte order mark, without consuming it; nothing in
  /// an empty file.
  std::optional<char> first_character();
  /// The next line without its end (LF or CRLF); nothing at the end. Throws InputError for one that
  /// is longer than kLongestPiece.
  std::optional<std::string_view> next_line();
  /// The next object of the array that the file is, skipping what lies between; nothing at the
  /// array's end. Throws InputError when something else stands there, or the file ends first.
  std::optional<std::string_view> next_object();

  /// Of the piece that was returned last, from 1.
  [[nodiscard]] std::int64_t line() const { return line_; }
  [[nodiscard]] const std::string& path() const { return source_.path(); }

 private:
  bool fill();  // false at the end of the file
  std::size_t find_object_end();
  void skip_to_object();

  ByteSource source_;
  std::vector<char> buffer_;
  std::size_t begin_ = 0;  // of what isn't consumed
  std::size_t end_ = 0;
  std::int64_t line_ = 0;
  std::int64_t lines_consumed_ = 0;  // line breaks before begin_, while reading objects
  bool in_array_ = false;
  bool ended_ = false;
};

}  // namespace iol
