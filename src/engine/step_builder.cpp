#include "engine/step_builder.h"

#include "sampler/sampler.h"

namespace iol {

const StepInput& StepBuilder::build(const Batch& batch) {
  token_ids_.clear();
  positions_.clear();
  slices_.clear();
  logit_tokens_.clear();
  choices_.clear();
  for (const auto& scheduled : batch.sequences) {
    const Sequence& sequence = *scheduled.sequence;
    const int first = sequence.num_computed_tokens;
    slices_.push_back(
        {static_cast<int>(token_ids_.size()), scheduled.num_tokens, first, sequence.block_table});
    for (int position = first; position < first + scheduled.num_tokens; ++position) {
      token_ids_.push_back(sequence.tokens[static_cast<std::size_t>(position)]);
      positions_.push_back(position);
    }
    if (scheduled.needs_logits) {
      logit_tokens_.push_back(static_cast<std::int32_t>(token_ids_.size()) - 1);
      choices_.push_back(token_choice(sequence).value_or(TokenChoice()));
    }
  }
  input_ = {token_ids_, positions_, slices_, logit_tokens_, choices_};
  return input_;
}

}  // namespace iol
