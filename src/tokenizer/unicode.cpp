#include "tokenizer/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>

namespace iol {
namespace {

static_assert(static_cast<int>(Category::kLu) == UTF8PROC_CATEGORY_LU);
static_assert(static_cast<int>(Category::kZs) == UTF8PROC_CATEGORY_ZS);
static_assert(static_cast<int>(Category::kCo) == UTF8PROC_CATEGORY_CO);

constexpr std::array<std::string_view, 30> kCategoryNames{
    "Cn", "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd", "Ps",
    "Pe", "Pi", "Pf", "Po", "Sm", "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co"};

constexpr std::array<CodePointRange, 4> kOtherAlphabeticSymbols{
    {{0x24b6, 0x24e9}, {0x1f130, 0x1f149}, {0x1f150, 0x1f169}, {0x1f170, 0x1f189}}};

}  // namespace

std::string_view category_name(Category category) {
  return kCategoryNames[static_cast<std::size_t>(category)];
}

Category category(char32_t code_point) {
  if (code_point == 0x1171e) return Category::kMc;  // kMn before Unicode 15.1
  const auto known =
      static_cast<Category>(utf8proc_category(static_cast<utf8proc_int32_t>(code_point)));
  if (known != Category::kCn) return known;
  const auto recent = recently_assigned();
  const auto next = std::upper_bound(
      recent.begin(), recent.end(), code_point,
      [](char32_t value, const CategoryRange& range) { return value < range.first; });
  if (next == recent.begin() || code_point > std::prev(next)->last) return Category::kCn;
  return std::prev(next)->category;
}

bool is_whitespace(char32_t c) {
  if (c < 0x80) return c == 0x20 || (c >= 0x09 && c <= 0x0d);
  return c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 ||
         c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

char32_t to_lower(char32_t code_point) {
  const auto lower = utf8proc_tolower(static_cast<utf8proc_int32_t>(code_point));
  if (static_cast<char32_t>(lower) != code_point) return static_cast<char32_t>(lower);
  for (const auto& [first, last, lower_first] : recent_lower_cases()) {
    if (code_point >= first && code_point <= last) return lower_first + (code_point - first);
  }
  return code_point;
}

bool is_word(char32_t code_point) {
  if (code_point == 0x200c || code_point == 0x200d) return true;  // Join_Control
  const Category kind = category(code_point);
  if (is_letter(kind)) return true;
  switch (kind) {
    case Category::kMn:
    case Category::kMc:
    case Category::kMe:
    case Category::kNd:
    case Category::kNl:
    case Category::kPc:
      return true;
    default:
      return std::any_of(kOtherAlphabeticSymbols.begin(), kOtherAlphabeticSymbols.end(),
                         [&](const CodePointRange& range) {
                           return code_point >= range.first && code_point <= range.last;
                         });
  }
}

std::span<const CodePointRange> other_alphabetic_symbols() { return kOtherAlphabeticSymbols; }

}  // namespace iol
