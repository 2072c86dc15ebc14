#pragma once
#include <unordered_map>

#include "speculative/drafter.h"
#include "speculative/ngram_index.h"

namespace iol {

/// Prompt lookup (Saxena 2023): what followed the last tokens when they occurred before in the
/// request's own text, prompt and output. No model. An occurrence that runs into the end of the
/// text goes on with its own guesses, so a loop is followed for as long as wanted.
class NgramDrafter final : public Drafter {
 public:
  void propose(std::span<Draft* const> drafts) override;
  [[nodiscard]] int num_missing(const Sequence&, bool) const override { return 0; }
  void forget(RequestId request) override { indices_.erase(request); }
  void clear_prefixes() override {}

 private:
  std::unordered_map<RequestId, NgramIndex> indices_;
};

}  // namespace iol
