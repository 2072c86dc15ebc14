#include "model/json_fields.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"

namespace iol {

using nlohmann::json;

namespace {

constexpr std::size_t kMostShown = 60;

std::string shortened(std::string text) {
  if (text.size() > kMostShown) text = text.substr(0, kMostShown) + "...";
  return text;
}

bool nests_deeper(const json& value, int levels) {
  if (!value.is_structured()) return false;
  return levels == 0 || std::any_of(value.begin(), value.end(), [&](const json& inner) {
           return nests_deeper(inner, levels - 1);
         });
}

std::string escaped(const json& value) {
  return value.dump(-1, ' ', /*ensure_ascii=*/true, json::error_handler_t::replace);
}

}  // namespace

std::string shown(const json& value) {
  // dump() recurses: a file of brackets must not overflow the stack.
  constexpr int kMostLevels = 8;
  if (nests_deeper(value, kMostLevels)) return "a deeply nested value";
  return shortened(escaped(value));
}

std::string shown_name(const std::string& name) {
  const std::string quoted = escaped(name);
  return shortened(quoted.substr(1, quoted.size() - 2));
}

JsonFields::JsonFields(const json& object, const std::string& origin, std::string prefix)
    : object_(object), origin_(origin), prefix_(std::move(prefix)) {
  if (!object.is_object()) {
    throw_input_error("{}: {} is not a JSON object", origin,
                      prefix_.empty() ? "the file" : "'" + prefix_ + "'");
  }
}

const json* JsonFields::find(const std::string& name) const {
  const auto found = object_.find(name);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

bool JsonFields::has(const std::string& name) const { return find(name) != nullptr; }

bool JsonFields::is_null(const std::string& name) const {
  const auto found = object_.find(name);
  return found != object_.end() && found->is_null();
}

void JsonFields::refuse(const std::string& name, const std::string& expected) const {
  const json* value = find(name);
  throw_input_error("{}: '{}{}' is {}; expected {}", origin_, prefix_, name,
                    value == nullptr ? "missing" : shown(*value), expected);
}

std::optional<std::int64_t> JsonFields::integer(const std::string& name, std::int64_t least,
                                                std::int64_t most) const {
  const json* value = find(name);
  if (value == nullptr) return std::nullopt;
  const bool fits =
      value->is_number_integer() &&
      !(value->is_number_unsigned() &&
        value->get<std::uint64_t>() > std::uint64_t{std::numeric_limits<std::int64_t>::max()});
  const std::int64_t integer = fits ? value->get<std::int64_t>() : 0;
  if (!fits || integer < least || integer > most) {
    refuse(name, fmt::format("an integer from {} to {}", least, most));
  }
  return integer;
}

int JsonFields::required_integer(const std::string& name, std::int64_t least,
                                 std::int64_t most) const {
  const auto value = integer(name, least, most);
  if (!value) refuse(name, fmt::format("an integer from {} to {}", least, most));
  return static_cast<int>(*value);
}

std::optional<double> JsonFields::number(const std::string& name, double least, double most) const {
  const json* value = find(name);
  if (value == nullptr) return std::nullopt;
  const double number = value->is_number() ? value->get<double>() : std::nan("");
  if (!(number >= least && number <= most))
    refuse(name, fmt::format("a number from {} to {}", least, most));
  return number;
}

std::optional<bool> JsonFields::boolean(const std::string& name) const {
  const json* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_boolean()) refuse(name, "true or false");
  return value->get<bool>();
}

std::optional<std::string> JsonFields::string(const std::string& name) const {
  const json* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) refuse(name, "a string");
  return value->get<std::string>();
}

std::optional<std::vector<std::string>> JsonFields::strings(const std::string& name) const {
  const json* value = find(name);
  if (value == nullptr) return std::nullopt;
  std::vector<std::string> strings;
  if (!value->is_array()) refuse(name, "a list of strings");
  for (const auto& entry : *value) {
    if (!entry.is_string()) refuse(name, "a list of strings");
    strings.push_back(entry.get<std::string>());
  }
  return strings;
}

std::vector<std::int32_t> JsonFields::token_ids(const std::string& name) const {
  const json* value = find(name);
  std::vector<std::int32_t> ids;
  if (value == nullptr) return ids;
  const auto add = [&](const json& entry) {
    constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
    if (!entry.is_number_integer() || entry.get<std::int64_t>() < 0 ||
        entry.get<std::int64_t>() > kMost) {
      refuse(name, "a token id or a list of them");
    }
    ids.push_back(entry.get<std::int32_t>());
  };
  if (value->is_array()) {
    for (const auto& entry : *value) add(entry);
  } else {
    add(*value);
  }
  return ids;
}

const json* JsonFields::object(const std::string& name) const {
  const json* value = find(name);
  if (value != nullptr && !value->is_object()) refuse(name, "an object");
  return value;
}

}  // namespace iol
