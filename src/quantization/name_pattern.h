#pragma once
#include <memory>
#include <string>

#include "tokenizer/pattern.h"

namespace iol {

/// A name of modules as compressed-tensors writes it: the whole name, or "re:" and a regular
/// expression that matches where the name begins (Python's re.match).
class NamePattern {
 public:
  /// Throws std::invalid_argument with the reason when the expression is broken or not supported.
  explicit NamePattern(std::string text);

  /// Throws InputError when the expression takes too much backtracking.
  [[nodiscard]] bool matches(const std::string& module) const;
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  std::string text_;
  std::unique_ptr<Regex> regex_;  // null: the whole name
};

}  // namespace iol
