#pragma once
// Typed access to the fields of one JSON record: strict about types, indifferent to unknown names.
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "report/statistics.h"

namespace iol::report {

using Json = nlohmann::json;

/// A view of one JSON object and of where it stands. Every accessor throws InputError with one line
/// (file:line, record type, field, what is wrong) when the field has another type. A field that is
/// null counts as absent. The object must outlive the view.
class JsonFields {
 public:
  /// `where` is "file:line", `path` is what names this object in messages ("request.metadata").
  JsonFields(const Json& object, std::string where, std::string path);

  std::string string(const char* name) const;
  std::int64_t integer(const char* name) const;
  double number(const char* name) const;
  JsonFields object(const char* name) const;

  std::optional<std::string> optional_string(const char* name) const;
  std::optional<std::int64_t> optional_integer(const char* name) const;
  /// Finite; NaN and infinities can't be written in JSON, and a string "nan" is a wrong type.
  std::optional<double> optional_number(const char* name) const;
  /// [low, high].
  std::optional<Interval> optional_interval(const char* name) const;
  std::optional<bool> optional_boolean(const char* name) const;
  std::optional<JsonFields> optional_object(const char* name) const;

  /// The field, or nullptr when absent or null.
  const Json* find(const char* name) const;
  const Json& json() const { return *object_; }

  /// Throws InputError about field `name`: "must be `expected`, not ...".
  [[noreturn]] void fail(std::string_view name, std::string_view expected) const;

 private:
  const Json& required(const char* name, std::string_view expected) const;

  const Json* object_;
  std::string where_;
  std::string path_;
};

}  // namespace iol::report
