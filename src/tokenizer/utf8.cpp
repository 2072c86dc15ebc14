#include "tokenizer/utf8.h"

#include <algorithm>
#include <cstring>

namespace iol {
namespace {

/// Bytes of ASCII at the start of `text`, looked at eight at a time.
std::size_t ascii_prefix(std::string_view text) {
  std::size_t i = 0;
  for (; i + 8 <= text.size(); i += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, text.data() + i, 8);
    if ((word & 0x8080808080808080ULL) != 0) break;
  }
  while (i < text.size() && static_cast<unsigned char>(text[i]) < 0x80) ++i;
  return i;
}

}  // namespace

Utf8Scan scan_utf8(std::string_view bytes) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
  const unsigned char first = at(0);
  if (first < 0x80) return {Utf8Form::kValid, 1};
  if (first < 0xc2 || first > 0xf4) return {Utf8Form::kInvalid, 1};
  const std::size_t length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  // Unicode 16.0, table 3-7: the second byte's range is narrower after four first bytes: no
  // overlong form, no surrogate, nothing past U+10FFFF.
  const unsigned char low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
  const unsigned char high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
  for (std::size_t i = 1; i < length; ++i) {
    if (i == bytes.size()) return {Utf8Form::kUnfinished, i};
    const bool fits = i == 1 ? at(i) >= low && at(i) <= high : (at(i) & 0xc0) == 0x80;
    if (!fits) return {Utf8Form::kInvalid, i};
  }
  return {Utf8Form::kValid, length};
}

std::optional<std::size_t> find_invalid_utf8(std::string_view text) {
  std::size_t offset = 0;
  while (true) {
    offset += ascii_prefix(text.substr(offset));
    if (offset == text.size()) return std::nullopt;
    const Utf8Scan scan = scan_utf8(text.substr(offset, 4));
    if (scan.form != Utf8Form::kValid) return offset;
    offset += scan.length;
  }
}

char32_t code_point_before(std::string_view text, std::size_t offset) {
  do {
    --offset;
  } while ((static_cast<unsigned char>(text[offset]) & 0xc0) == 0x80);
  return next_code_point(text, offset);
}

void append_utf8(char32_t code_point, std::string& text) {
  const auto put = [&](char32_t byte) { text.push_back(static_cast<char>(byte)); };
  if (code_point < 0x80) {
    put(code_point);
  } else if (code_point < 0x800) {
    put(0xc0 | code_point >> 6);
    put(0x80 | (code_point & 0x3f));
  } else if (code_point < 0x10000) {
    put(0xe0 | code_point >> 12);
    put(0x80 | (code_point >> 6 & 0x3f));
    put(0x80 | (code_point & 0x3f));
  } else {
    put(0xf0 | code_point >> 18);
    put(0x80 | (code_point >> 12 & 0x3f));
    put(0x80 | (code_point >> 6 & 0x3f));
    put(0x80 | (code_point & 0x3f));
  }
}

std::string to_utf8(char32_t code_point) {
  std::string text;
  append_utf8(code_point, text);
  return text;
}

void Utf8Repair::push(std::string_view bytes, std::string& text) {
  std::string joined;
  if (!pending_.empty()) {
    joined = pending_;
    joined += bytes;
    bytes = joined;
    pending_.clear();
  }
  while (!bytes.empty()) {
    const std::size_t ascii = ascii_prefix(bytes);
    text += bytes.substr(0, ascii);
    bytes.remove_prefix(ascii);
    if (bytes.empty()) return;
    const Utf8Scan scan = scan_utf8(bytes);
    if (scan.form == Utf8Form::kUnfinished) {
      pending_ = bytes;
      return;
    }
    text += scan.form == Utf8Form::kValid ? bytes.substr(0, scan.length) : kReplacementCharacter;
    bytes.remove_prefix(scan.length);
  }
}

void Utf8Repair::finish(std::string& text) {
  if (!pending_.empty()) text += kReplacementCharacter;
  pending_.clear();
}

}  // namespace iol
