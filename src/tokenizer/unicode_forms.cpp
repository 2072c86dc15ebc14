#include "tokenizer/unicode_forms.h"

#include <utf8proc.h>

#include <cstdlib>
#include <memory>

#include "base/error.h"
#include "tokenizer/utf8.h"

namespace iol {
namespace {

utf8proc_option_t options_of(UnicodeForm form) {
  int options = UTF8PROC_STABLE;
  options |= form == UnicodeForm::kNfc || form == UnicodeForm::kNfkc ? UTF8PROC_COMPOSE
                                                                     : UTF8PROC_DECOMPOSE;
  if (form == UnicodeForm::kNfkc || form == UnicodeForm::kNfkd) options |= UTF8PROC_COMPAT;
  return static_cast<utf8proc_option_t>(options);
}

/// True for characters that the form leaves alone and that nothing before them can reach across:
/// a sufficient condition that is quick to test, not the exact property.
bool is_boundary(UnicodeForm form, char32_t c) {
  if (c < 0x80) return true;
  if (form != UnicodeForm::kNfc) return false;
  return c < 0x300 || (c >= 0x400 && c <= 0x482) || (c >= 0x2010 && c <= 0x2027) ||
         (c >= 0x3041 && c <= 0x3096) || (c >= 0x30a1 && c <= 0x30fa) ||
         (c >= 0x4e00 && c <= 0x9fff) || (c >= 0xac00 && c <= 0xd7a3);
}

void append_form(UnicodeForm form, std::string_view text, std::string& result) {
  utf8proc_uint8_t* mapped = nullptr;
  const auto length =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                   static_cast<utf8proc_ssize_t>(text.size()), &mapped, options_of(form));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(mapped, &std::free);
  if (length < 0) throw_resource_error("cannot normalize text: {}", utf8proc_errmsg(length));
  result.append(reinterpret_cast<const char*>(mapped), static_cast<std::size_t>(length));
}

}  // namespace

std::string to_unicode_form(UnicodeForm form, std::string_view text) {
  std::string result;
  result.reserve(text.size());
  // Everything from a boundary character up to the next boundary character can be normalized alone,
  // and a boundary character followed by another is already as it should be.
  std::size_t begin = 0;
  while (begin < text.size()) {
    std::size_t plain_end = begin;  // text[begin, plain_end) is done
    std::size_t offset = begin;     // start of the character looked at
    std::size_t previous = begin;   // start of the character before it
    bool is_plain = true;
    while (offset < text.size() && is_plain) {
      std::size_t next = offset;
      is_plain = is_boundary(form, next_code_point(text, next));
      if (is_plain) {
        previous = offset;
        offset = next;
      }
    }
    plain_end = offset == text.size() ? offset : previous;
    result += text.substr(begin, plain_end - begin);
    if (plain_end == text.size()) break;
    std::size_t complex_end = offset;
    while (complex_end < text.size()) {
      std::size_t next = complex_end;
      if (is_boundary(form, next_code_point(text, next))) break;
      complex_end = next;
    }
    append_form(form, text.substr(plain_end, complex_end - plain_end), result);
    begin = complex_end;
  }
  return result;
}

}  // namespace iol
