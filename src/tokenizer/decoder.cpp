#include "tokenizer/decoder.h"

#include "tokenizer/decode_steps.h"
#include "tokenizer/json_parts.h"
#include "tokenizer/pattern.h"
#include "tokenizer/prepend_scheme.h"

namespace iol {
namespace {

constexpr std::int64_t kMaxStripped = 1 << 20;

}  // namespace

Decoder::Decoder() {
  steps_.emplace_back([](DecodeStep* next) { return std::make_unique<JoinWithSpaces>(next); });
}

Decoder::Decoder(const JsonNode& node) { add(node, 0); }

void Decoder::add(const JsonNode& node, int depth) {
  const auto type = part_type(node, depth);
  if (is_fused_ && (type == "ByteLevel" || type == "ByteFallback")) {
    node.fail("it can't follow a decoder that joins all tokens");
  }
  if (type == "Sequence") {
    node.allow_only({"type", "decoders"});
    for (const auto& step : node.require("decoders").as_array()) add(step, depth + 1);
  } else if (type == "ByteLevel") {
    node.allow_only({"type", "add_prefix_space", "trim_offsets", "use_regex"});
    steps_.emplace_back([](DecodeStep* next) { return std::make_unique<DecodeByteLevel>(next); });
    is_fused_ = true;
  } else if (type == "ByteFallback") {
    node.allow_only({"type"});
    steps_.emplace_back(
        [](DecodeStep* next) { return std::make_unique<DecodeByteFallback>(next); });
  } else if (type == "Fuse") {
    node.allow_only({"type"});
    is_fused_ = true;  // steps behind it treat what they receive as parts of one token
  } else if (type == "Replace") {
    node.allow_only({"type", "pattern", "content"});
    steps_.push_back(make_replace_step(Pattern::from_json(node.require("pattern")),
                                       std::string(node.require("content").as_string()),
                                       is_fused_));
  } else if (type == "Strip") {
    node.allow_only({"type", "content", "start", "stop"});
    steps_.push_back(make_strip_step(
        {std::string(single_character(node.require("content"))),
         static_cast<std::size_t>(node.require("start").as_integer(0, kMaxStripped)),
         static_cast<std::size_t>(node.require("stop").as_integer(0, kMaxStripped))},
        is_fused_));
  } else if (type == "Metaspace") {
    const std::string mark(metaspace_mark(node));
    const bool drops_first = metaspace_scheme(node) != PrependScheme::kNever;
    steps_.emplace_back([mark, drops_first, is_fused = is_fused_](DecodeStep* next) {
      return std::make_unique<DecodeMetaspace>(mark, drops_first, is_fused, next);
    });
  } else {
    fail_part_type(node, type,
                   "ByteLevel, ByteFallback, Fuse, Replace, Strip, Metaspace, Sequence");
  }
}

std::vector<std::unique_ptr<DecodeStep>> Decoder::start(DecodeStep* end) const {
  std::vector<std::unique_ptr<DecodeStep>> steps(steps_.size());
  for (std::size_t i = steps.size(); i-- > 0;) {
    steps[i] = steps_[i](end);
    end = steps[i].get();
  }
  return steps;
}

}  // namespace iol
