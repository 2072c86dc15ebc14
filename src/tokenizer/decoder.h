#pragma once
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/json_node.h"

namespace iol {

/// One step of turning tokens into text, in the middle of one decoding. Steps hand text on as soon
/// as nothing that follows can change it, and what a step hands on is whole characters.
class DecodeStep {
 public:
  explicit DecodeStep(DecodeStep* next) : next_(next) {}
  virtual ~DecodeStep() = default;

  /// Receives the next token; or, behind a step that fuses all tokens into one, the next part of
  /// it.
  virtual void push(std::string_view text) = 0;
  /// No more will come. Hands on what was held back, then finishes the next step.
  virtual void finish() { next_->finish(); }

 protected:
  [[nodiscard]] DecodeStep& next() const { return *next_; }

 private:
  DecodeStep* next_;  // not owned; null only for the last one, which hands nothing on
};

/// The "decoder" of a tokenizer.json. Immutable; thread-safe.
class Decoder {
 public:
  /// Makes the step of one decoding that hands on to the given one.
  using MakeStep = std::function<std::unique_ptr<DecodeStep>(DecodeStep* next)>;

  /// None declared: tokens with a space between them.
  Decoder();
  /// Throws InputError naming the field for anything not supported.
  explicit Decoder(const JsonNode& node);

  /// The steps of one decoding, first to last; the last one hands on to `end`.
  [[nodiscard]] std::vector<std::unique_ptr<DecodeStep>> start(DecodeStep* end) const;

 private:
  void add(const JsonNode& node, int depth);

  std::vector<MakeStep> steps_;
  bool is_fused_ = false;  // while parsing: the steps so far give a single token
};

}  // namespace iol
