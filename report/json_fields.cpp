#include "report/json_fields.h"

#include <cmath>
#include <limits>
#include <utility>

#include "base/error.h"

namespace iol::report {

JsonFields::JsonFields(const Json& object, std::string where, std::string path)
    : object_(&object), where_(std::move(where)), path_(std::move(path)) {
  if (!object.is_object()) {
    throw_input_error("{}: {} must be a JSON object, not {}; the file is damaged or foreign",
                      where_, path_, object.type_name());
  }
}

void JsonFields::fail(std::string_view name, std::string_view expected) const {
  const auto field = object_->find(name);
  const std::string found = field == object_->end() ? "absent" : field->type_name();
  throw_input_error("{}: {}.{} must be {} but is {}; the file is damaged or was edited by hand",
                    where_, path_, name, expected, found);
}

const Json* JsonFields::find(const char* name) const {
  const auto field = object_->find(name);
  if (field == object_->end() || field->is_null()) return nullptr;
  return &*field;
}

const Json& JsonFields::required(const char* name, std::string_view expected) const {
  const Json* field = find(name);
  if (field == nullptr) fail(name, expected);
  return *field;
}

std::optional<std::string> JsonFields::optional_string(const char* name) const {
  const Json* field = find(name);
  if (field == nullptr) return std::nullopt;
  if (!field->is_string()) fail(name, "a string");
  return field->get<std::string>();
}

std::optional<std::int64_t> JsonFields::optional_integer(const char* name) const {
  const Json* field = find(name);
  if (field == nullptr) return std::nullopt;
  if (field->is_number_unsigned() &&
      field->get<std::uint64_t>() > std::uint64_t{std::numeric_limits<std::int64_t>::max()}) {
    fail(name, "an integer below 2^63");
  }
  if (field->is_number_integer()) return field->get<std::int64_t>();
  // AIPerf and Python writers emit whole numbers as 128.0; those are integers too.
  if (field->is_number_float()) {
    const double value = field->get<double>();
    if (std::floor(value) == value && std::abs(value) < 9.0e15) {
      return static_cast<std::int64_t>(value);
    }
  }
  fail(name, "an integer");
}

std::optional<double> JsonFields::optional_number(const char* name) const {
  const Json* field = find(name);
  if (field == nullptr) return std::nullopt;
  if (!field->is_number() || !std::isfinite(field->get<double>())) fail(name, "a finite number");
  return field->get<double>();
}

std::optional<Interval> JsonFields::optional_interval(const char* name) const {
  const Json* field = find(name);
  if (field == nullptr) return std::nullopt;
  const auto is_finite = [](const Json& end) {
    return end.is_number() && std::isfinite(end.get<double>());
  };
  if (!field->is_array() || field->size() != 2 || !is_finite((*field)[0]) ||
      !is_finite((*field)[1]) || (*field)[0].get<double>() > (*field)[1].get<double>()) {
    fail(name, "two finite numbers [low, high]");
  }
  return Interval{(*field)[0].get<double>(), (*field)[1].get<double>()};
}

std::optional<bool> JsonFields::optional_boolean(const char* name) const {
  const Json* field = find(name);
  if (field == nullptr) return std::nullopt;
  if (!field->is_boolean()) fail(name, "true or false");
  return field->get<bool>();
}

std::optional<JsonFields> JsonFields::optional_object(const char* name) const {
  const Json* field = find(name);
  if (field == nullptr) return std::nullopt;
  if (!field->is_object()) fail(name, "an object");
  return JsonFields(*field, where_, path_ + "." + name);
}

std::string JsonFields::string(const char* name) const {
  required(name, "a string");
  return *optional_string(name);
}

std::int64_t JsonFields::integer(const char* name) const {
  required(name, "an integer");
  return *optional_integer(name);
}

double JsonFields::number(const char* name) const {
  required(name, "a finite number");
  return *optional_number(name);
}

JsonFields JsonFields::object(const char* name) const {
  required(name, "an object");
  return *optional_object(name);
}

}  // namespace iol::report
