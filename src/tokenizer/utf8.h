#pragma once
// UTF-8, the one encoding of text inside the program (RFC 3629: no surrogates, no overlong forms).
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace iol {

/// Offset of the first byte that is not part of a valid character; nothing when all is valid.
std::optional<std::size_t> find_invalid_utf8(std::string_view text);

/// Bytes of the character that starts with this byte. The text must be valid.
inline std::size_t utf8_length(char first) {
  const auto byte = static_cast<unsigned char>(first);
  return byte < 0x80 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
}

/// The code point at `offset`, which is moved behind it. The text must be valid.
inline char32_t next_code_point(std::string_view text, std::size_t& offset) {
  const auto byte = [&](std::size_t i) {
    return static_cast<char32_t>(static_cast<unsigned char>(text[offset + i]));
  };
  const char32_t first = byte(0);
  char32_t code_point = first;
  std::size_t length = 1;
  if (first >= 0xf0) {
    code_point =
        (first & 0x07) << 18 | (byte(1) & 0x3f) << 12 | (byte(2) & 0x3f) << 6 | (byte(3) & 0x3f);
    length = 4;
  } else if (first >= 0xe0) {
    code_point = (first & 0x0f) << 12 | (byte(1) & 0x3f) << 6 | (byte(2) & 0x3f);
    length = 3;
  } else if (first >= 0x80) {
    code_point = (first & 0x1f) << 6 | (byte(1) & 0x3f);
    length = 2;
  }
  offset += length;
  return code_point;
}

/// The code point that ends just before `offset` (> 0). The text must be valid.
char32_t code_point_before(std::string_view text, std::size_t offset);

void append_utf8(char32_t code_point, std::string& text);
std::string to_utf8(char32_t code_point);

enum class Utf8Form : std::uint8_t { kValid, kInvalid, kUnfinished };

struct Utf8Scan {
  Utf8Form form;
  std::size_t length;  // of the character, of the maximal invalid part, or of the unfinished prefix
};

/// Looks at the character that starts at bytes[0]; `bytes` is not empty.
Utf8Scan scan_utf8(std::string_view bytes);

/// U+FFFD, what stands for bytes that are no character.
inline constexpr std::string_view kReplacementCharacter = "\xef\xbf\xbd";

/// Bytes to text, piece by piece: each maximal invalid part becomes one U+FFFD (Unicode 16.0,
/// section 3.9, "U+FFFD Substitution of Maximal Subparts"), and an unfinished character at the end
/// of a piece waits for the next one.
class Utf8Repair {
 public:
  void push(std::string_view bytes, std::string& text);
  void finish(std::string& text);

 private:
  std::string pending_;  // a proper prefix of one character
};

}  // namespace iol
