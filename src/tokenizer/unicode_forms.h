#pragma once
#include <string>
#include <string_view>

namespace iol {

/// The normalization forms of UAX #15.
enum class UnicodeForm { kNfc, kNfd, kNfkc, kNfkd };

std::string to_unicode_form(UnicodeForm form, std::string_view text);

}  // namespace iol
