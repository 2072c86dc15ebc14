#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "tokenizer/json_node.h"

namespace iol {

/// The "post_processor" of a tokenizer.json, for one text: which ids go around it. Immutable.
class PostProcessor {
 public:
  /// None declared: nothing is added.
  PostProcessor() = default;
  /// Throws InputError naming the field for anything not supported. Ids must be below `vocab_size`.
  PostProcessor(const JsonNode& node, int vocab_size);

  [[nodiscard]] std::vector<std::int32_t> add_special_tokens(std::vector<std::int32_t> text) const;

 private:
  /// Ids to insert, or nothing for the place of the text itself.
  using Template = std::vector<std::optional<std::int32_t>>;

  void add(const JsonNode& node, int depth, int vocab_size);
  static Template parse_template(const JsonNode& node, int vocab_size);

  std::vector<Template> templates_;  // applied one after the other
};

}  // namespace iol
