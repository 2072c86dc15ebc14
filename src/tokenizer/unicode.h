#pragma once
// Properties of characters, at the Unicode version of the `tokenizers` package (16.0), whatever
// version the linked utf8proc and PCRE2 know.
#include <cstdint>
#include <span>
#include <string_view>

namespace iol {

/// General categories, numbered as utf8proc does.
enum class Category : std::uint8_t {
  kCn,  // unassigned
  kLu,
  kLl,
  kLt,
  kLm,
  kLo,
  kMn,
  kMc,
  kMe,
  kNd,
  kNl,
  kNo,
  kPc,
  kPd,
  kPs,
  kPe,
  kPi,
  kPf,
  kPo,
  kSm,
  kSc,
  kSk,
  kSo,
  kZs,
  kZl,
  kZp,
  kCc,
  kCf,
  kCs,
  kCo
};

/// "Lu", "Ll", ..., in the order of the numbers.
std::string_view category_name(Category category);

Category category(char32_t code_point);

inline bool is_letter(Category category) {
  return category >= Category::kLu && category <= Category::kLo;
}
inline bool is_number(Category category) {
  return category >= Category::kNd && category <= Category::kNo;
}

/// The property White_Space: `\s` of every regular expression here, and Rust's
/// `char::is_whitespace`.
bool is_whitespace(char32_t code_point);

/// The lower case of a character whose lower case is one character, at Unicode 17.0 (as Rust's
/// `char::to_lowercase` in the `tokenizers` package); else the character itself.
char32_t to_lower(char32_t code_point);

/// `\w` as UTS #18 has it (letters, marks, decimal digits, connectors, joiners, other alphabetics).
bool is_word(char32_t code_point);

struct CodePointRange {
  char32_t first;
  char32_t last;
};

/// Code points that are alphabetic by Other_Alphabetic alone: neither letters, marks nor numbers.
std::span<const CodePointRange> other_alphabetic_symbols();

struct CategoryRange {
  char32_t first;
  char32_t last;
  Category category;
};

/// What Unicode 15.0, 15.1 and 16.0 assigned; ascending.
std::span<const CategoryRange> recently_assigned();

struct LowerCaseRange {
  char32_t first;
  char32_t last;
  char32_t lower_first;  // the lower case of `first`; those of the others follow it
};

/// Lower cases that came with Unicode 15.0 to 17.0.
std::span<const LowerCaseRange> recent_lower_cases();

/// True for characters that the `tokenizers` package leaves alone in NFC, NFD, NFKC and NFKD: its
/// tables for those are older (Unicode 9.0) than its other tables.
bool is_newer_than_normalization(char32_t code_point);

}  // namespace iol
