#include "tokenizer/json_node.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"

namespace iol {

std::string in_quotes(std::string_view text) {
  constexpr std::size_t kMaxShown = 80;
  std::string shown = "'";
  for (const char c : text.substr(0, kMaxShown)) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      shown += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    } else {
      shown.push_back(c);
    }
  }
  // Never cut within a character.
  if (text.size() > kMaxShown) {
    while (!shown.empty() && (static_cast<unsigned char>(shown.back()) & 0xc0) == 0x80) {
      shown.pop_back();
    }
    if (!shown.empty() && static_cast<unsigned char>(shown.back()) >= 0x80) shown.pop_back();
    shown += "...";
  }
  return shown + "'";
}

simdjson::dom::element parse_json(simdjson::dom::parser& parser, std::string_view text,
                                  std::string_view origin) {
  if (text.data() == nullptr) text = "";  // an empty file; simdjson copies from the pointer
  simdjson::dom::element root;
  const auto error = parser.parse(text.data(), text.size()).get(root);
  if (error != simdjson::SUCCESS) {
    throw_input_error("{}: not valid JSON: {}; the file may be truncated, download it again",
                      origin, simdjson::error_message(error));
  }
  return root;
}

std::optional<JsonNode> JsonNode::find(std::string_view key) const {
  simdjson::dom::element value;
  if (as_object().at_key(key).get(value) != simdjson::SUCCESS || value.is_null()) {
    return std::nullopt;
  }
  return JsonNode(value, origin_,
                  path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key));
}

JsonNode JsonNode::require(std::string_view key) const {
  auto value = find(key);
  if (!value) fail(fmt::format("the field '{}' is missing", key));
  return *std::move(value);
}

void JsonNode::allow_only(std::initializer_list<std::string_view> keys) const {
  for (const auto field : as_object()) {
    if (std::find(keys.begin(), keys.end(), field.key) == keys.end()) {
      fail(fmt::format("the field {} is not supported", in_quotes(field.key)));
    }
  }
}

std::string_view JsonNode::as_string() const {
  std::string_view value;
  if (element_.get(value) != simdjson::SUCCESS) fail("expected a string");
  return value;
}

bool JsonNode::as_bool() const {
  bool value = false;
  if (element_.get(value) != simdjson::SUCCESS) fail("expected true or false");
  return value;
}

std::int64_t JsonNode::as_integer(std::int64_t least, std::int64_t most) const {
  std::int64_t value = 0;
  if (element_.get(value) != simdjson::SUCCESS || value < least || value > most) {
    fail(fmt::format("expected an integer from {} to {}", least, most));
  }
  return value;
}

std::vector<JsonNode> JsonNode::as_array() const {
  simdjson::dom::array array;
  if (element_.get(array) != simdjson::SUCCESS) fail("expected an array");
  std::vector<JsonNode> nodes;
  for (const auto element : array) {
    nodes.emplace_back(element, origin_, fmt::format("{}[{}]", path_, nodes.size()));
  }
  return nodes;
}

simdjson::dom::object JsonNode::as_object() const {
  simdjson::dom::object object;
  if (element_.get(object) != simdjson::SUCCESS) fail("expected an object");
  return object;
}

bool JsonNode::bool_or(std::string_view key, bool fallback) const {
  const auto value = find(key);
  return value ? value->as_bool() : fallback;
}

std::string_view JsonNode::string_or(std::string_view key, std::string_view fallback) const {
  const auto value = find(key);
  return value ? value->as_string() : fallback;
}

void JsonNode::fail(std::string_view problem) const {
  if (path_.empty()) throw_input_error("{}: {}", origin_, problem);
  throw_input_error("{}: {}: {}", origin_, path_, problem);
}

}  // namespace iol
