#include "report/lookup.h"

#include <fmt/format.h>

#include <cmath>

#include "report/format.h"

namespace iol::report {
namespace {

constexpr int kMaxDepth = 8;  // a record is flat; deeper nesting is shown as JSON text

std::string scalar_text(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_null()) return "not available";
  if (value.is_boolean()) return value.get<bool>() ? "yes" : "no";
  if (value.is_number_integer()) return value.dump();
  if (value.is_number_float()) {
    const double number = value.get<double>();
    return std::floor(number) == number && std::abs(number) < 1e15 ? fmt::format("{:.0f}", number)
                                                                   : format_number(number);
  }
  return value.dump();
}

/// Numbers whose field name carries a unit are shown with it.
std::string field_text(std::string_view path, const Json& value) {
  if (value.is_number()) {
    const double number = value.get<double>();
    if (path.ends_with("_bytes") || path.ends_with("bytes_per_step") ||
        path.ends_with("bytes_per_token")) {
      return format_bytes(number);
    }
    if (path.ends_with("_bytes_per_s")) return format_bandwidth(number);
    if (path.ends_with("_s")) return format_duration_ms(number * 1e3);
    if (path.ends_with("_ms")) return format_duration_ms(number);
  }
  return scalar_text(value);
}

const Json* find_anywhere(const Json& json, const char* name, int depth) {
  if (!json.is_object() || depth > kMaxDepth) return nullptr;
  const auto direct = json.find(name);
  if (direct != json.end() && direct->is_primitive() && !direct->is_null()) return &*direct;
  for (const auto& [key, value] : json.items()) {
    if (const Json* found = find_anywhere(value, name, depth + 1)) return found;
  }
  return nullptr;
}

/// "avx2, avx512"; objects read "concurrency 1, scenario latency; concurrency 4, ...".
std::string list_text(const Json& array) {
  std::string text;
  for (const Json& item : array) {
    text += text.empty() ? "" : item.is_object() ? "; " : ", ";
    if (!item.is_object()) {
      text += scalar_text(item);
      continue;
    }
    std::string fields;
    for (const auto& [key, value] : item.items()) {
      fields += (fields.empty() ? "" : ", ") + key + " " + field_text(key, value);
    }
    text += fields;
  }
  return text;
}

void flatten_into(const Json& json, const std::string& path, int depth,
                  std::vector<std::pair<std::string, std::string>>& result) {
  if (json.is_object() && depth < kMaxDepth) {
    for (const auto& [key, value] : json.items()) {
      flatten_into(value, path.empty() ? key : path + "." + key, depth + 1, result);
    }
    return;
  }
  if (json.is_array()) {
    result.emplace_back(path, list_text(json));
    return;
  }
  result.emplace_back(path, field_text(path, json));
}

}  // namespace

std::optional<std::string> find_text(const Json& json, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    if (const Json* found = find_anywhere(json, name, 0)) {
      std::string text = scalar_text(*found);
      if (!text.empty()) return text;
    }
  }
  return std::nullopt;
}

std::vector<std::pair<std::string, std::string>> flatten(const Json& json) {
  std::vector<std::pair<std::string, std::string>> result;
  flatten_into(json, "", 0, result);
  return result;
}

}  // namespace iol::report
