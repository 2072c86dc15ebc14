#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace iol {

/// A value of a foreign file as an error message shows it: on one line, in printable ASCII,
/// shortened. A string comes in double quotes.
std::string shown(const nlohmann::json& value);
/// The same for a name, without the quotes.
std::string shown_name(const std::string& name);

/// Typed, checked access to the fields of a JSON object of a checkpoint. A field that is absent or
/// null is missing. Throws InputError naming the file, the field, its value and what was expected.
class JsonFields {
 public:
  /// Both arguments must outlive the object.
  JsonFields(const nlohmann::json& object, const std::string& origin, std::string prefix = "");

  [[nodiscard]] bool has(const std::string& name) const;
  /// True for an explicit null, which some fields tell from absence.
  [[nodiscard]] bool is_null(const std::string& name) const;
  /// An integer in [least, most].
  [[nodiscard]] std::optional<std::int64_t> integer(const std::string& name, std::int64_t least,
                                                    std::int64_t most) const;
  [[nodiscard]] int required_integer(const std::string& name, std::int64_t least,
                                     std::int64_t most) const;
  /// A finite number in [least, most].
  [[nodiscard]] std::optional<double> number(const std::string& name, double least,
                                             double most) const;
  [[nodiscard]] std::optional<bool> boolean(const std::string& name) const;
  [[nodiscard]] std::optional<std::string> string(const std::string& name) const;
  [[nodiscard]] std::optional<std::vector<std::string>> strings(const std::string& name) const;
  /// One id or a list of ids.
  [[nodiscard]] std::vector<std::int32_t> token_ids(const std::string& name) const;
  /// The object in a field, or nothing.
  [[nodiscard]] const nlohmann::json* object(const std::string& name) const;

  [[noreturn]] void refuse(const std::string& name, const std::string& expected) const;
  [[nodiscard]] const std::string& origin() const { return origin_; }

 private:
  [[nodiscard]] const nlohmann::json* find(const std::string& name) const;

  const nlohmann::json& object_;
  const std::string& origin_;
  std::string prefix_;  // "rope_scaling." for the fields of an inner object
};

}  // namespace iol
