#include "tokenizer/json_parts.h"

#include <fmt/format.h>

#include "tokenizer/utf8.h"

namespace iol {

std::string_view part_type(const JsonNode& node, int depth) {
  constexpr int kMaxDepth = 16;
  if (depth > kMaxDepth) node.fail("parts are nested too deep");
  return node.require("type").as_string();
}

void fail_part_type(const JsonNode& node, std::string_view type, std::string_view supported) {
  node.fail(
      fmt::format("the type {} is not supported (supported: {})", in_quotes(type), supported));
}

std::string_view single_character(const JsonNode& node) {
  const auto text = node.as_string();
  if (text.empty() || utf8_length(text[0]) != text.size()) node.fail("expected one character");
  return text;
}

}  // namespace iol
