#include "economics/toml_fields.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace iol::economics {
namespace {

constexpr double kLargest = 1e12;

/// What a key of any text may be shown as in a message of one line.
std::string printable(std::string_view text) {
  std::string result(text.substr(0, 60));
  std::replace_if(
      result.begin(), result.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, '?');
  return result;
}

bool has_control_characters(std::string_view text) {
  return std::any_of(text.begin(), text.end(),
                     [](unsigned char c) { return c < 0x20 || c == 0x7f; });
}

}  // namespace

void TomlFields::fail(std::string_view key, std::string_view problem) const {
  const toml::node* node = key.empty() ? nullptr : table_->get(key);
  const auto line = (node != nullptr ? *node : static_cast<const toml::node&>(*table_)).source();
  const std::string dot = key_.empty() || key.empty() ? "" : ".";
  throw_input_error("{}:{}: {}{}{}: {}", path_, line.begin.line, key_, dot, printable(key),
                    problem);
}

void TomlFields::allow_only(std::initializer_list<std::string_view> keys) const {
  for (const auto& [name, node] : *table_) {
    const std::string_view key = name.str();
    if (std::find(keys.begin(), keys.end(), key) == keys.end()) {
      fail(key, fmt::format("unknown key; known here: {}", fmt::join(keys, ", ")));
    }
  }
}

const toml::node& TomlFields::required(std::string_view key, std::string_view example) const {
  const toml::node* node = table_->get(key);
  if (node == nullptr) fail(key, fmt::format("is missing; add it, as in {} = {}", key, example));
  return *node;
}

std::string TomlFields::text(std::string_view key) const {
  const char* example = key == "unit" ? "\"USD/device-hour\"" : "\"a text\"";
  const auto& node = required(key, example);
  const auto* value = node.as_string();
  if (value == nullptr || value->get().empty()) fail(key, "must be a text that isn't empty");
  if (has_control_characters(value->get())) fail(key, "has a control character; remove it");
  return value->get();
}

double TomlFields::positive(std::string_view key) const {
  const auto& node = required(key, "3.93");
  if (!node.is_number()) fail(key, "must be a number");
  const double value = *node.value<double>();
  if (!std::isfinite(value) || value <= 0 || value >= kLargest) {
    fail(key, fmt::format("{} must be a finite number above 0", value));
  }
  return value;
}

std::int64_t TomlFields::integer(std::string_view key) const {
  const auto* value = required(key, "1").as_integer();
  if (value == nullptr) fail(key, "must be a whole number");
  return value->get();
}

bool TomlFields::boolean_or(std::string_view key, bool otherwise) const {
  const toml::node* node = table_->get(key);
  if (node == nullptr) return otherwise;
  const auto* value = node->as_boolean();
  if (value == nullptr) fail(key, "must be true or false");
  return value->get();
}

Date TomlFields::date(std::string_view key) const {
  const auto* value = required(key, "2025-08-31").as_date();
  if (value == nullptr) fail(key, "must be a date without quotes, as 2025-08-31");
  const toml::date date = value->get();
  return {static_cast<int>(date.year), static_cast<int>(date.month), static_cast<int>(date.day)};
}

TomlFields TomlFields::table(std::string_view key) const {
  const auto& node = required(
      key, "{ value = 3.93, unit = \"USD/device-hour\", date = 2025-08-31, source = \"...\" }");
  const auto* inner = node.as_table();
  if (inner == nullptr) {
    fail(
        key,
        "is a bare value; a price states { value, unit, date, source }, so that it can be checked");
  }
  return {*inner, path_, key_.empty() ? std::string(key) : fmt::format("{}.{}", key_, key)};
}

std::vector<TomlFields> TomlFields::tables(std::string_view key) const {
  std::vector<TomlFields> result;
  const toml::node* node = table_->get(key);
  if (node == nullptr) return result;
  const auto* array = node->as_array();
  if (array == nullptr) fail(key, fmt::format("must be tables; write [[{}]]", key));
  for (std::size_t i = 0; i < array->size(); ++i) {
    const auto* table = array->get(i)->as_table();
    if (table == nullptr) fail(key, fmt::format("must be tables; write [[{}]]", key));
    result.emplace_back(*table, path_, fmt::format("{}[{}]", key, i + 1));
  }
  return result;
}

}  // namespace iol::economics
