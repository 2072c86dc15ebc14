#pragma once
#include <string>
#include <string_view>

namespace iol {

/// The PCRE2 pattern (UTF, UCP) that matches what `pattern` matches in Oniguruma's Ruby syntax,
/// which is what the patterns of tokenizer.json are written in. The two differ in `\s`, `\w`, `\h`,
/// `\v`, `^`, `$`, script properties and in the version of Unicode, so classes are spelled out.
/// Throws std::invalid_argument naming the construct for anything whose meaning may differ.
std::string translate_oniguruma(std::string_view pattern);

}  // namespace iol
