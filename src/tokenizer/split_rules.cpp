#include "tokenizer/split_rules.h"

#include <array>
#include <cstdint>

#include "tokenizer/unicode.h"
#include "tokenizer/utf8.h"

namespace iol {
namespace {

/// What the patterns tell apart.
enum class Kind : std::uint8_t { kLetter, kNumber, kNewline, kSpace, kOther, kEnd };

constexpr std::array<Kind, 128> kAsciiKinds = [] {
  std::array<Kind, 128> kinds{};
  for (std::size_t c = 0; c < kinds.size(); ++c) {
    const auto lower = c | 0x20;
    kinds[c] = lower >= 'a' && lower <= 'z'           ? Kind::kLetter
               : c >= '0' && c <= '9'                 ? Kind::kNumber
               : c == '\n' || c == '\r'               ? Kind::kNewline
               : c == ' ' || (c >= 0x09 && c <= 0x0d) ? Kind::kSpace
                                                      : Kind::kOther;
  }
  return kinds;
}();

Kind kind_of(char32_t code_point) {
  const Category kind = category(code_point);
  if (is_letter(kind)) return Kind::kLetter;
  if (is_number(kind)) return Kind::kNumber;
  return is_whitespace(code_point) ? Kind::kSpace : Kind::kOther;
}

class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  struct Character {
    Kind kind;
    std::size_t end;
  };

  [[nodiscard]] Character at(std::size_t offset) const {
    if (offset == text_.size()) return {Kind::kEnd, offset};
    const auto byte = static_cast<unsigned char>(text_[offset]);
    if (byte < 0x80) return {kAsciiKinds[byte], offset + 1};
    const char32_t code_point = next_code_point(text_, offset);
    return {kind_of(code_point), offset};
  }

  /// End of the run of `kind` that starts at `offset`.
  [[nodiscard]] std::size_t run_end(std::size_t offset, Kind kind) const {
    for (Character c = at(offset); c.kind == kind; c = at(offset)) offset = c.end;
    return offset;
  }

  /// End of the contraction 's 't 're 've 'm 'll 'd at `offset`; `offset` when there is none.
  [[nodiscard]] std::size_t contraction_end(std::size_t offset, bool is_caseless) const {
    const auto rest = text_.substr(offset);
    if (rest.size() < 2 || rest[0] != '\'') return offset;
    // U+017F, the long s, folds to s.
    if (is_caseless && rest.substr(1).starts_with("\xc5\xbf")) return offset + 3;
    const auto letter = [&](std::size_t i) {
      if (i >= rest.size()) return '\0';
      const char c = rest[i];
      return is_caseless && c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
    };
    const char first = letter(1);
    const char second = letter(2);
    if (first == 's' || first == 't' || first == 'm' || first == 'd') return offset + 2;
    const bool is_pair = (first == 'r' && second == 'e') || (first == 'v' && second == 'e') ||
                         (first == 'l' && second == 'l');
    return is_pair ? offset + 3 : offset;
  }

  /// `\s+(?!\S)|\s+`: a run of whitespace, less its last character where text follows. With
  /// `newlines_first`, `\s*[\r\n]+` is tried before: the run up to its last newline.
  [[nodiscard]] std::size_t whitespace_end(std::size_t begin, bool newlines_first) const {
    std::size_t end = begin;
    std::size_t last_begin = begin;
    std::size_t newline_end = begin;
    Character c = at(end);
    while (c.kind == Kind::kSpace || c.kind == Kind::kNewline) {
      last_begin = end;
      end = c.end;
      if (c.kind == Kind::kNewline) newline_end = end;
      c = at(end);
    }
    if (newlines_first && newline_end > begin) return newline_end;
    return c.kind == Kind::kEnd || last_begin == begin ? end : last_begin;
  }

 private:
  std::string_view text_;
};

std::size_t gpt2_match_end(const Scanner& scanner, std::size_t begin, bool starts_with_space) {
  const std::size_t contraction = scanner.contraction_end(begin, false);
  if (contraction > begin) return contraction;
  const auto first = scanner.at(begin);
  const auto body = starts_with_space ? scanner.at(first.end).kind : first.kind;
  if (body == Kind::kLetter || body == Kind::kNumber || body == Kind::kOther) {
    return scanner.run_end(starts_with_space ? first.end : begin, body);
  }
  return scanner.whitespace_end(begin, false);
}

std::size_t llama3_match_end(const Scanner& scanner, std::size_t begin, bool starts_with_space,
                             int max_digits) {
  const std::size_t contraction = scanner.contraction_end(begin, true);
  if (contraction > begin) return contraction;
  const auto first = scanner.at(begin);
  if (first.kind == Kind::kLetter) return scanner.run_end(first.end, Kind::kLetter);
  if (first.kind == Kind::kNumber) {
    std::size_t end = first.end;
    for (int digits = 1; digits < max_digits; ++digits) {
      const auto next = scanner.at(end);
      if (next.kind != Kind::kNumber) break;
      end = next.end;
    }
    return end;
  }
  const auto second = scanner.at(first.end);
  if (second.kind == Kind::kLetter && first.kind != Kind::kNewline) {
    return scanner.run_end(second.end, Kind::kLetter);
  }
  if (first.kind == Kind::kOther || (starts_with_space && second.kind == Kind::kOther)) {
    const std::size_t end = scanner.run_end(first.end, Kind::kOther);
    return scanner.run_end(end, Kind::kNewline);
  }
  return scanner.whitespace_end(begin, true);
}

}  // namespace

std::optional<SplitRule> find_split_rule(std::string_view pattern) {
  if (pattern == kGpt2Pattern) return SplitRule::kGpt2;
  if (pattern == kLlama3Pattern) return SplitRule::kLlama3;
  if (pattern == kQwen2Pattern) return SplitRule::kQwen2;
  return std::nullopt;
}

void split_by_rule(SplitRule rule, std::string_view text,
                   const std::function<void(std::string_view)>& emit) {
  const Scanner scanner(text);
  for (std::size_t begin = 0; begin < text.size();) {
    const bool starts_with_space = text[begin] == ' ';
    const std::size_t end = rule == SplitRule::kGpt2
                                ? gpt2_match_end(scanner, begin, starts_with_space)
                                : llama3_match_end(scanner, begin, starts_with_space,
                                                   rule == SplitRule::kLlama3 ? 3 : 1);
    emit(text.substr(begin, end - begin));
    begin = end;
  }
}

}  // namespace iol
