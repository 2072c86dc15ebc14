#include "speculative/ngram_drafter.h"

#include <algorithm>

namespace iol {
namespace {

// Of outputs whose length is not known better: room before the index grows.
constexpr int kMostReservedOutput = 4096;

NgramIndex make_index(const Sequence& sequence) {
  const int num_output = std::min(sequence.sampling.max_tokens, kMostReservedOutput);
  return NgramIndex(static_cast<std::size_t>(sequence.num_prompt_tokens + num_output));
}

}  // namespace

void NgramDrafter::propose(std::span<Draft* const> drafts) {
  for (Draft* draft : drafts) {
    const Sequence& sequence = *draft->sequence;
    auto found = indices_.find(sequence.id);
    if (found == indices_.end()) {
      found = indices_.emplace(sequence.id, make_index(sequence)).first;
    }
    NgramIndex& index = found->second;
    const auto text = sequence.known_tokens();
    index.catch_up(text);
    const auto position = index.find(text);
    if (!position) continue;
    const std::size_t num_known = text.size() - *position;
    for (std::size_t i = 0; i < static_cast<std::size_t>(draft->max_tokens); ++i) {
      draft->tokens.push_back(i < num_known ? text[*position + i] : draft->tokens[i - num_known]);
    }
  }
}

}  // namespace iol
