#pragma once
#include <memory>
#include <string>

#include "tokenizer/json_node.h"

namespace iol {

/// The "normalizer" of a tokenizer.json: text to text, before anything is split. Immutable.
class Normalizer {
 public:
  virtual ~Normalizer() = default;
  /// `text` is valid UTF-8 before and after, and not empty before.
  virtual void normalize(std::string& text) const = 0;
};

/// Throws InputError naming the field for anything not supported.
std::unique_ptr<const Normalizer> parse_normalizer(const JsonNode& node);

}  // namespace iol
