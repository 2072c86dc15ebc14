#include "tokenizer/prepend_scheme.h"

#include <fmt/format.h>

#include "tokenizer/json_parts.h"

namespace iol {

std::string_view metaspace_mark(const JsonNode& node) {
  return single_character(node.require("replacement"));
}

PrependScheme metaspace_scheme(const JsonNode& node) {
  node.allow_only(
      {"type", "replacement", "prepend_scheme", "split", "add_prefix_space", "str_rep"});
  const auto scheme = node.find("prepend_scheme");
  if (!node.bool_or("add_prefix_space", true)) {
    if (scheme && scheme->as_string() != "never") {
      scheme->fail("it contradicts \"add_prefix_space\": false");
    }
    return PrependScheme::kNever;
  }
  if (!scheme || scheme->as_string() == "always") return PrependScheme::kAlways;
  if (scheme->as_string() == "first") return PrependScheme::kFirst;
  if (scheme->as_string() == "never") return PrependScheme::kNever;
  scheme->fail(fmt::format("unknown scheme {}", in_quotes(scheme->as_string())));
}

}  // namespace iol
