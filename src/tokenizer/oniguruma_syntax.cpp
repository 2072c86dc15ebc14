#include "tokenizer/oniguruma_syntax.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <functional>
#include <optional>
#include <stdexcept>

#include "tokenizer/unicode.h"
#include "tokenizer/utf8.h"

namespace iol {
namespace {

[[noreturn]] void refuse(std::string_view construct) {
  throw std::invalid_argument(fmt::format("unsupported regular expression: {}", construct));
}

bool is_ascii_letter(char32_t c) { return (c | 0x20) >= 'a' && (c | 0x20) <= 'z'; }
bool is_ascii_digit(char32_t c) { return c >= '0' && c <= '9'; }

/// One character, harmless inside and outside a class.
std::string character(char32_t c) {
  if (is_ascii_letter(c) || is_ascii_digit(c)) return std::string(1, static_cast<char>(c));
  return fmt::format("\\x{{{:x}}}", static_cast<std::uint32_t>(c));
}

std::string range(char32_t first, char32_t last) {
  return first == last ? character(first) : character(first) + "-" + character(last);
}

/// Elements of a class that match exactly the code points of the predicate; surrogates can't occur.
template <class Predicate>
std::string members(Predicate&& contains) {
  std::string elements;
  constexpr char32_t kEnd = 0x110000;
  for (char32_t c = 0; c < kEnd; ++c) {
    if (!contains(c)) continue;
    const char32_t first = c;
    while (c + 1 < kEnd && c + 1 != 0xd800 && contains(c + 1)) ++c;
    elements += range(first, c);
    if (c == 0xd7ff) c = 0xdfff;
  }
  return elements;
}

/// A set of code points: elements to put in a class, and the set itself for its complement.
struct CodePointSet {
  std::string elements;
  std::function<bool(char32_t)> contains;
};

/// General categories whose name starts with `name` ("L", "Lu").
CodePointSet categories(std::string_view name) {
  const auto contains = [name = std::string(name)](char32_t c) {
    return category_name(category(c)).starts_with(name);
  };
  // Unicode 15.1 moved a character between these two; which version PCRE2 has, we don't know.
  if (name == "Mn" || name == "Mc") return {members(contains), contains};
  std::string elements = fmt::format("\\p{{{}}}", name);
  for (const auto& recent : recently_assigned()) {
    if (category_name(recent.category).starts_with(name)) {
      elements += range(recent.first, recent.last);
    }
  }
  return {elements, contains};
}

CodePointSet whitespace() { return {members(is_whitespace), is_whitespace}; }

/// Oniguruma's \w: Unicode's, less the joiners, with the superscript and fraction digits of
/// Latin-1 where it does not stand within a class.
CodePointSet word_characters(bool is_in_class) {
  const auto contains = [is_in_class](char32_t c) {
    const bool is_latin1_number = c == 0xb2 || c == 0xb3 || c == 0xb9 || (c >= 0xbc && c <= 0xbe);
    return (is_latin1_number && !is_in_class) || (is_word(c) && c != 0x200c && c != 0x200d);
  };
  std::string elements = is_in_class ? "" : "\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}";
  for (const std::string_view name : {"L", "M", "Nd", "Nl", "Pc"}) {
    elements += categories(name).elements;
  }
  for (const auto& symbols : other_alphabetic_symbols()) {
    elements += range(symbols.first, symbols.last);
  }
  return {elements, contains};
}

CodePointSet hexadecimal_digits() {
  return {"0-9A-Fa-f",
          [](char32_t c) { return is_ascii_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f'); }};
}

CodePointSet property(std::string_view name) {
  constexpr std::array<std::string_view, 36> kCategories{
      "L",  "Lu", "Ll", "Lt", "Lm", "Lo", "M",  "Mn", "Mc", "Me", "N",      "Nd",
      "Nl", "No", "P",  "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "S",      "Sm",
      "Sc", "Sk", "So", "Z",  "Zs", "Zl", "Zp", "Cc", "Cf", "Co", "Letter", "Number"};
  if (name == "Letter") name = "L";
  if (name == "Number") name = "N";
  if (std::find(kCategories.begin(), kCategories.end(), name) != kCategories.end()) {
    return categories(name);
  }
  if (name == "Han") {
    // The extensions I and H and the end of C came with Unicode 15.1 and 15.0.
    return {"\\p{sc:Han}\\x{2b739}\\x{2ebf0}-\\x{2ee5d}\\x{31350}-\\x{323af}", nullptr};
  }
  if (name == "Hiragana") return {"\\p{sc:Hiragana}\\x{1b132}", nullptr};
  if (name == "Katakana") return {"\\p{sc:Katakana}\\x{1b155}", nullptr};
  constexpr std::array<std::string_view, 5> kScripts{"Hangul", "Thai", "Greek", "Hebrew",
                                                     "Armenian"};
  if (std::find(kScripts.begin(), kScripts.end(), name) != kScripts.end()) {
    return {fmt::format("\\p{{sc:{}}}", name), nullptr};
  }
  refuse(fmt::format("property {}", name));
}

class Translator {
 public:
  explicit Translator(std::string_view pattern) : pattern_(pattern) {}

  std::string run() {
    if (find_invalid_utf8(pattern_)) refuse("invalid UTF-8");
    while (!at_end()) translate_item();
    return std::move(output_);
  }

 private:
  [[nodiscard]] bool at_end() const { return offset_ == pattern_.size(); }
  [[nodiscard]] char peek() const { return at_end() ? '\0' : pattern_[offset_]; }
  [[nodiscard]] std::string_view rest() const { return pattern_.substr(offset_); }
  char32_t take() {
    if (at_end()) refuse("it ends too early");
    return next_code_point(pattern_, offset_);
  }
  bool take_if(std::string_view text) {
    if (!rest().starts_with(text)) return false;
    offset_ += text.size();
    return true;
  }

  void translate_item() {
    const char32_t c = take();
    switch (c) {
      case '\\':
        return translate_escape();
      case '[':
        return translate_class();
      case '(':
        return translate_group();
      case '.':
        output_ += "[^\\n]";
        return;
      case '^':
      case '$':
        // Lines, not the whole text, are what these anchor to in Ruby.
        output_ += c == '^' ? "(?m:^)" : "(?m:$)";
        return;
      case '*':
      case '+':
      case '?':
        output_.push_back(static_cast<char>(c));
        if (peek() == '?' || peek() == '+') output_.push_back(static_cast<char>(take()));
        return;
      case '{':
        return translate_interval();
      case '|':
      case ')':
        output_.push_back(static_cast<char>(c));
        return;
      default:
        output_ += character(c);
    }
  }

  /// {n}, {n,}, {n,m}, {,m}; any other brace is itself.
  void translate_interval() {
    const auto close = rest().find('}');
    const auto body = rest().substr(0, close);
    const auto comma = std::min(body.find(','), body.size());
    const auto is_number = [](std::string_view digits) {
      return std::all_of(digits.begin(), digits.end(),
                         [](char c) { return is_ascii_digit(static_cast<unsigned char>(c)); });
    };
    const auto least = body.substr(0, comma);
    const auto most = comma < body.size() ? body.substr(comma + 1) : std::string_view();
    if (close == std::string_view::npos || !is_number(least) || !is_number(most) ||
        (least.empty() && most.empty())) {
      output_ += character('{');
      return;
    }
    if (least.size() > 4 || most.size() > 4) refuse("an interval past 9999");
    offset_ += close + 1;
    output_ += fmt::format("{{{}{}}}", least.empty() ? "0" : least, body.substr(comma));
    // Greedy, lazy and possessive intervals are written differently in the two syntaxes.
    if (peek() == '+' || peek() == '?') refuse("a modifier behind an interval");
  }

  void translate_group() {
    for (const std::string_view opening : {"?:", "?=", "?!", "?<=", "?<!", "?>"}) {
      if (take_if(opening)) {
        output_ += fmt::format("({}", opening);
        return;
      }
    }
    if (take_if("?i:")) return translate_caseless_group();
    if (peek() == '?' || peek() == '*') refuse("this kind of group");
    output_ += "(";
  }

  /// Only plain ASCII inside: beyond it the engines fold differently (Oniguruma lets "ss" match
  /// U+00DF).
  void translate_caseless_group() {
    output_ += "(?i:";
    char32_t previous = 0;
    for (char32_t c = take(); c != ')'; c = take()) {
      if (!is_ascii_letter(c) && !is_ascii_digit(c) && c != '\'' && c != '|') {
        refuse("(?i:...) with more than letters, digits, ' and |");
      }
      const char32_t lower = c | 0x20;
      const char32_t before = previous | 0x20;
      if ((before == 's' && (lower == 's' || lower == 't')) ||
          (before == 'f' && (lower == 'f' || lower == 'i' || lower == 'l'))) {
        refuse("(?i:...) with letters that a ligature folds to");
      }
      output_ += c == '|' ? "|" : character(c);
      previous = c;
    }
    output_ += ")";
  }

  void translate_escape() {
    const std::size_t start = offset_;
    const char32_t c = take();
    if (c == 'A' || c == 'z' || c == 'Z') {
      output_ += fmt::format("\\{}", static_cast<char>(c));
      return;
    }
    offset_ = start;
    bool is_negated = false;
    if (const auto set = take_set(is_negated, false)) {
      output_ += fmt::format("[{}{}]", is_negated ? "^" : "", set->elements);
    } else {
      output_ += character(take_escaped_character());
    }
  }

  /// After a backslash: a set such as s, D, p{L}; nothing when it is a single character.
  std::optional<CodePointSet> take_set(bool& is_negated, bool is_in_class) {
    const char32_t c = static_cast<unsigned char>(peek());
    is_negated = c == 'S' || c == 'W' || c == 'D' || c == 'H' || c == 'P';
    switch (c | 0x20) {
      case 's':
        take();
        return whitespace();
      case 'w':
        take();
        return word_characters(is_in_class);
      case 'd':
        take();
        return categories("Nd");
      case 'h':
        take();
        return hexadecimal_digits();
      case 'p':
        take();
        return take_property(is_negated);
      default:
        return std::nullopt;
    }
  }

  CodePointSet take_property(bool& is_negated) {
    if (!take_if("{")) refuse("\\p without braces");
    if (take_if("^")) is_negated = !is_negated;
    const auto close = rest().find('}');
    if (close == std::string_view::npos) refuse("\\p without a closing brace");
    const auto name = rest().substr(0, close);
    offset_ += close + 1;
    return property(name);
  }

  char32_t take_escaped_character() {
    const char32_t c = take();
    switch (c) {
      case 'n':
        return '\n';
      case 'r':
        return '\r';
      case 't':
        return '\t';
      case 'f':
        return '\f';
      case 'v':
        return '\v';
      case 'a':
        return '\a';
      case 'e':
        return 0x1b;
      case 'x':
        return take_if("{") ? take_hexadecimal(1, 8, true) : take_hexadecimal(1, 2, false);
      case 'u':
        return take_hexadecimal(4, 4, false);
      default:
        if (is_ascii_letter(c) || is_ascii_digit(c)) {
          refuse(fmt::format("\\{}", static_cast<char>(c)));
        }
        return c;
    }
  }

  char32_t take_hexadecimal(int least, int most, bool has_brace) {
    char32_t value = 0;
    int count = 0;
    for (; count < most && hexadecimal_digits().contains(static_cast<unsigned char>(peek()));
         ++count) {
      const char32_t digit = take();
      value = value << 4 | (is_ascii_digit(digit) ? digit - '0' : (digit | 0x20) - 'a' + 10);
    }
    const bool is_closed = !has_brace || take_if("}");
    // A byte of 0x80 or more would be part of a character there and a character here.
    if (count < least || !is_closed || value > 0x10ffff || (value >= 0xd800 && value < 0xe000) ||
        (!has_brace && most == 2 && value >= 0x80)) {
      refuse("this hexadecimal character");
    }
    return value;
  }

  void translate_class() {
    const bool is_negated_class = take_if("^");
    if (peek() == ']') refuse("a class that starts with ]");
    std::string elements;
    while (!take_if("]")) elements += take_class_element();
    output_ += fmt::format("[{}{}]", is_negated_class ? "^" : "", elements);
  }

  std::string take_class_element() {
    if (peek() == '[') refuse("a class within a class");
    if (rest().starts_with("&&")) refuse("an intersection of classes");
    if (rest().starts_with("\\")) {
      const std::size_t start = offset_;
      take();
      bool is_negated = false;
      if (const auto set = take_set(is_negated, true)) {
        if (!is_negated) return set->elements;
        if (!set->contains) refuse("a negated script within a class");
        return members([&](char32_t c) { return !set->contains(c); });
      }
      offset_ = start;
    }
    const char32_t first = take_class_character();
    // A minus sign is itself at the end of a class; "a-\s" and the like have no agreed meaning.
    if (!rest().starts_with("-") || rest().starts_with("-]")) return character(first);
    take();
    if (peek() == '[' || rest().starts_with("&&")) refuse("this range in a class");
    const char32_t last = take_class_character();
    if (last < first) refuse("an empty range in a class");
    return range(first, last);
  }

  char32_t take_class_character() {
    const char32_t c = take();
    return c == '\\' ? take_escaped_character() : c;
  }

  std::string_view pattern_;
  std::size_t offset_ = 0;
  std::string output_;
};

}  // namespace

std::string translate_oniguruma(std::string_view pattern) { return Translator(pattern).run(); }

}  // namespace iol
