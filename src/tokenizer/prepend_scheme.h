#pragma once
#include <string>

#include "tokenizer/json_node.h"

namespace iol {

/// Where a Metaspace puts its mark in front of a text that has none.
enum class PrependScheme { kNever, kFirst, kAlways };

/// The "replacement" of a Metaspace pre-tokenizer or decoder: one character. Throws InputError.
std::string_view metaspace_mark(const JsonNode& node);
/// Its "prepend_scheme", in the newer form or in that of older files ("add_prefix_space").
PrependScheme metaspace_scheme(const JsonNode& node);

}  // namespace iol
