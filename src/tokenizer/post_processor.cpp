#include "tokenizer/post_processor.h"

#include <fmt/format.h>

#include "tokenizer/json_parts.h"

namespace iol {

PostProcessor::PostProcessor(const JsonNode& node, int vocab_size) { add(node, 0, vocab_size); }

void PostProcessor::add(const JsonNode& node, int depth, int vocab_size) {
  const auto type = part_type(node, depth);
  if (type == "Sequence") {
    node.allow_only({"type", "processors"});
    for (const auto& step : node.require("processors").as_array()) {
      add(step, depth + 1, vocab_size);
    }
  } else if (type == "ByteLevel") {
    // It corrects character offsets, which we don't report; ids stay as they are.
    node.allow_only({"type", "add_prefix_space", "trim_offsets", "use_regex"});
  } else if (type == "TemplateProcessing") {
    node.allow_only({"type", "single", "pair", "special_tokens"});
    templates_.push_back(parse_template(node, vocab_size));
  } else {
    fail_part_type(node, type, "TemplateProcessing, ByteLevel, Sequence");
  }
}

PostProcessor::Template PostProcessor::parse_template(const JsonNode& node, int vocab_size) {
  const auto special_tokens = node.require("special_tokens");
  Template result;
  for (const auto& item : node.require("single").as_array()) {
    item.allow_only({"SpecialToken", "Sequence"});
    if (const auto sequence = item.find("Sequence")) {
      if (sequence->require("id").as_string() != "A") sequence->fail("expected the id 'A'");
      result.emplace_back(std::nullopt);
      continue;
    }
    const auto name = item.require("SpecialToken").require("id").as_string();
    for (const auto& id : special_tokens.require(name).require("ids").as_array()) {
      result.emplace_back(static_cast<std::int32_t>(id.as_integer(0, vocab_size - 1)));
    }
  }
  return result;
}

std::vector<std::int32_t> PostProcessor::add_special_tokens(std::vector<std::int32_t> text) const {
  for (const Template& items : templates_) {
    std::vector<std::int32_t> result;
    result.reserve(text.size() + items.size());
    for (const auto& id : items) {
      if (id) {
        result.push_back(*id);
      } else {
        result.insert(result.end(), text.begin(), text.end());
      }
    }
    text = std::move(result);
  }
  return text;
}

}  // namespace iol
