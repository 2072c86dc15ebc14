#pragma once
// What the parsers of normalizers, pre-tokenizers, post-processors and decoders share.
#include <string_view>

#include "tokenizer/json_node.h"

namespace iol {

/// The "type" of a part. Throws when it is missing or when parts are nested absurdly deep.
std::string_view part_type(const JsonNode& node, int depth);

/// InputError: this type is not one of the `supported`.
[[noreturn]] void fail_part_type(const JsonNode& node, std::string_view type,
                                 std::string_view supported);

/// A string of exactly one character. Throws InputError.
std::string_view single_character(const JsonNode& node);

}  // namespace iol
