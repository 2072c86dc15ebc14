#include "tokenizer/unicode_forms.h"

#include <utf8proc.h>

#include <cstdlib>
#include <memory>

#include "base/error.h"
#include "tokenizer/unicode.h"
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

enum class Role {
  kPlain,    // left alone; may take part in what follows it
  kBarrier,  // left alone; takes part in nothing
  kOther,
};

/// kPlain is a condition that is sufficient and quick to test, not the exact property.
Role role_of(UnicodeForm form, char32_t c) {
  if (c < 0x80) return Role::kPlain;
  const bool is_plain_composed = c < 0x300 || (c >= 0x400 && c <= 0x482) ||
                                 (c >= 0x2010 && c <= 0x2027) || (c >= 0x3041 && c <= 0x3096) ||
                                 (c >= 0x30a1 && c <= 0x30fa) || (c >= 0x4e00 && c <= 0x9fff) ||
                                 (c >= 0xac00 && c <= 0xd7a3);
  if (form == UnicodeForm::kNfc && is_plain_composed) return Role::kPlain;
  return is_newer_than_normalization(c) ? Role::kBarrier : Role::kOther;
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
  // A run of other characters is normalized together with the plain character before it; nothing
  // else reaches across.
  for (std::size_t begin = 0; begin < text.size();) {
    std::size_t run_begin = begin;
    std::size_t end = begin;
    for (std::size_t next = end; end < text.size(); end = next) {
      const Role next_role = role_of(form, next_code_point(text, next));
      if (next_role == Role::kOther) break;
      run_begin = next_role == Role::kPlain ? end : next;
    }
    if (end == text.size()) run_begin = end;
    result += text.substr(begin, run_begin - begin);
    for (std::size_t next = end; end < text.size(); end = next) {
      if (role_of(form, next_code_point(text, next)) != Role::kOther) break;
    }
    if (run_begin < end) append_form(form, text.substr(run_begin, end - run_begin), result);
    begin = end;
  }
  return result;
}

}  // namespace iol
