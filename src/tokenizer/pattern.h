#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/json_node.h"

namespace iol {

/// A part of a text, and whether a pattern matched it.
struct Span {
  std::size_t begin;
  std::size_t end;
  bool is_match;
};

/// A regular expression written for Oniguruma (Ruby syntax, UTF-8), run by PCRE2 with its JIT.
/// Immutable; thread-safe.
class Regex {
 public:
  /// Throws std::invalid_argument with the reason when the pattern is broken or uses something
  /// whose meaning differs between the two engines.
  explicit Regex(std::string_view pattern);
  ~Regex();
  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;

  /// Appends the matches from left to right, without overlap; an empty match right behind another
  /// match doesn't count. Throws InputError when a match takes too much backtracking.
  void find_matches(std::string_view text, std::vector<Span>& matches) const;

 private:
  struct Compiled;
  std::unique_ptr<Compiled> compiled_;
};

/// {"String": "..."} or {"Regex": "..."}, as normalizers, pre-tokenizers and decoders declare it.
class Pattern {
 public:
  /// Throws InputError naming the field.
  static Pattern from_json(const JsonNode& node);

  /// The whole text in consecutive parts, matches and what lies between them. `text` is not empty.
  [[nodiscard]] std::vector<Span> partition(std::string_view text) const;
  /// `text` with every match replaced by `content`.
  [[nodiscard]] std::string replace(std::string_view text, std::string_view content) const;

  /// The literal string, or null for a regular expression.
  [[nodiscard]] const std::string* literal() const { return regex_ ? nullptr : &source_; }
  /// The string or the regular expression as declared.
  [[nodiscard]] const std::string& source() const { return source_; }

 private:
  Pattern(std::string source, std::shared_ptr<const Regex> regex)
      : source_(std::move(source)), regex_(std::move(regex)) {}

  std::string source_;
  std::shared_ptr<const Regex> regex_;  // null: literal; shared by the stages built from one file
};

}  // namespace iol
