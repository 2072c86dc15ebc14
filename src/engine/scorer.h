#pragma once
#include <functional>
#include <memory>
#include <span>

#include "engine/loaded_model.h"

namespace iol {

/// Runs given text through a model and shows the logits of every position: for perplexity and for
/// comparing models. One sequence at a time, no sampling.
class Scorer {
 public:
  /// `window_tokens`: the longest text scored at once. The model must outlive the scorer.
  Scorer(LoadedModel& model, int window_tokens);
  ~Scorer();

  /// Logits of `count` consecutive positions from `first_position` on; row i is logits(i).
  struct Rows {
    int first_position;
    int count;
    std::function<std::span<float>(int)> logits;
  };
  /// Feeds `tokens` (at most window_tokens) and calls `visit` for consecutive runs of positions.
  void score(std::span<const std::int32_t> tokens, const std::function<void(const Rows&)>& visit);

 private:
  LoadedModel& model_;
  int window_tokens_;
  std::unique_ptr<KvCache> cache_;
  std::unique_ptr<Activations> activations_;
  std::vector<BlockId> block_table_;
};

}  // namespace iol
