#pragma once
// Typed access to one table of a TOML file; every refusal is one line with file, line and key.
#include <fmt/format.h>

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "economics/price_file.h"

#define TOML_EXCEPTIONS 0
#define TOML_HEADER_ONLY 1
// Its parser asserts that a table's name begins as a name, just before it reports as an error that
// it doesn't. The assertion would end the program, and without assertions be undefined behaviour.
#define TOML_ASSERT(expression) static_cast<void>(0)
#pragma push_macro("NDEBUG")
#undef NDEBUG
#include <toml++/toml.h>
#pragma pop_macro("NDEBUG")

namespace iol::economics {

/// A view of a table that must outlive it. Missing keys and wrong types throw InputError.
class TomlFields {
 public:
  /// `key` is what messages call the table: "rented[2].price".
  TomlFields(const toml::table& table, std::string path, std::string key)
      : table_(&table), path_(std::move(path)), key_(std::move(key)) {}

  /// Refuses keys that are not in the list: a misspelt key is a price that silently isn't used.
  void allow_only(std::initializer_list<std::string_view> keys) const;

  /// Not empty and without control characters: these texts are printed.
  [[nodiscard]] std::string text(std::string_view key) const;
  /// Finite, above 0 and below 1e12.
  [[nodiscard]] double positive(std::string_view key) const;
  [[nodiscard]] std::int64_t integer(std::string_view key) const;
  [[nodiscard]] bool boolean_or(std::string_view key, bool otherwise) const;
  [[nodiscard]] Date date(std::string_view key) const;
  [[nodiscard]] TomlFields table(std::string_view key) const;
  [[nodiscard]] bool has(std::string_view key) const { return table_->contains(key); }
  /// The tables of [[key]]; none when there is no such key.
  [[nodiscard]] std::vector<TomlFields> tables(std::string_view key) const;

  /// Throws "file:line: key: problem" about a key of this table or the table itself ("").
  [[noreturn]] void fail(std::string_view key, std::string_view problem) const;

 private:
  [[nodiscard]] const toml::node& required(std::string_view key, std::string_view example) const;

  const toml::table* table_;
  std::string path_;
  std::string key_;
};

}  // namespace iol::economics
