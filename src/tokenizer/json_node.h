#pragma once
#include <simdjson.h>

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace iol {

/// A value in a parsed JSON file together with its place, so that every error names the file and
/// the field. Views into the parser that made it.
class JsonNode {
 public:
  JsonNode(simdjson::dom::element element, std::string_view origin, std::string path)
      : element_(element), origin_(origin), path_(std::move(path)) {}

  /// The field `key` of this object; nothing when it is absent or null.
  [[nodiscard]] std::optional<JsonNode> find(std::string_view key) const;
  /// Throws when it is absent or null.
  [[nodiscard]] JsonNode require(std::string_view key) const;
  /// Throws naming the first field that is not one of `keys`: what we don't know we don't ignore.
  void allow_only(std::initializer_list<std::string_view> keys) const;

  [[nodiscard]] std::string_view as_string() const;
  [[nodiscard]] bool as_bool() const;
  /// Throws when the number is not an integer in [least, most].
  [[nodiscard]] std::int64_t as_integer(std::int64_t least, std::int64_t most) const;
  [[nodiscard]] std::vector<JsonNode> as_array() const;
  [[nodiscard]] simdjson::dom::object as_object() const;

  [[nodiscard]] bool bool_or(std::string_view key, bool fallback) const;
  [[nodiscard]] std::string_view string_or(std::string_view key, std::string_view fallback) const;

  [[nodiscard]] bool is_string() const { return element_.is_string(); }
  [[nodiscard]] const simdjson::dom::element& element() const { return element_; }
  [[nodiscard]] std::string_view origin() const { return origin_; }

  /// InputError: "<file>: <field>: <problem>".
  [[noreturn]] void fail(std::string_view problem) const;

 private:
  simdjson::dom::element element_;
  std::string_view origin_;
  std::string path_;  // "pre_tokenizer.pretokenizers[0]"; empty at the root
};

/// The root of a JSON document; valid as long as the parser. Throws InputError naming `origin`.
simdjson::dom::element parse_json(simdjson::dom::parser& parser, std::string_view text,
                                  std::string_view origin);

/// `text` in quotes for an error line: control characters escaped, long text cut.
std::string in_quotes(std::string_view text);

}  // namespace iol
