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
        {static_cast<int>(token_ids_.size()), scheduled.num_rows(), first, sequence.block_table});
    for (int position = first; position < first + scheduled.num_tokens; ++position) {
      token_ids_.push_back(sequence.tokens[static_cast<std::size_t>(position)]);
      positions_.push_back(position);
    }
    for (int i = 0; i < scheduled.num_drafts; ++i) {
      token_ids_.push_back(sequence.draft_tokens[static_cast<std::size_t>(i)]);
      positions_.push_back(first + scheduled.num_tokens + i);
    }
    const auto num_rows = static_cast<std::int32_t>(token_ids_.size());
    for (int i = 0; i < scheduled.num_logit_rows(); ++i) {
      logit_tokens_.push_back(num_rows - scheduled.num_logit_rows() + i);
      choices_.push_back(scheduled.is_judged_by_rejection()
                             ? TokenChoice()
                             : token_choice(sequence, i).value_or(TokenChoice()));
    }
  }
  input_ = {token_ids_, positions_, slices_, logit_tokens_, choices_};
  return input_;
}

}  // namespace iol
