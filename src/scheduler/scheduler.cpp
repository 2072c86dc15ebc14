#include "scheduler/scheduler.h"

#include <algorithm>

#include "base/error.h"
#include "scheduler/policies.h"

namespace iol {

Scheduler::Scheduler(const SchedulerConfig& config, BlockTables& blocks)
    : config_(config), blocks_(blocks) {
  if (config.max_batch < 1) {
    throw_input_error("max_batch is {}; it must be at least 1", config.max_batch);
  }
  if (config.max_step_tokens < 1) {
    throw_input_error("max_step_tokens is {}; it must be at least 1", config.max_step_tokens);
  }
  if (config.max_context < 1) {
    throw_input_error("max_context is {}; it must be at least 1", config.max_context);
  }
}

void Scheduler::add(Sequence& sequence) {
  IOL_CHECK(sequence.num_tokens() > 0 && sequence.block_table.empty());
  IOL_CHECK(
      can_ever_fit(max_cached_positions(sequence.num_prompt_tokens, sequence.sampling.max_tokens)));
  queues_.wait(sequence);
}

const Batch& Scheduler::schedule() {
  batch_.sequences.clear();
  batch_.num_prefill_tokens = 0;
  batch_.num_decode_tokens = 0;
  batch_.num_draft_tokens = 0;
  StepPlanner step(config_, blocks_, queues_, batch_);
  switch (config_.policy) {
    case SchedulerPolicy::kInFlight:
      plan_in_flight_step(step);
      break;
    case SchedulerPolicy::kStatic:
      plan_static_step(step);
      break;
  }
  num_preemptions_ += step.num_preemptions();
  IOL_CHECK(!batch_.empty() || empty() ||
            std::ranges::all_of(queues_.running(), &Sequence::awaits_last_token));
  return batch_;
}

void Scheduler::on_step_done(const Batch& batch) {
  for (const ScheduledSequence& scheduled : batch.sequences) {
    blocks_.advance(*scheduled.sequence, scheduled.num_tokens);
    if (scheduled.needs_logits) scheduled.sequence->is_decoding = true;
  }
}

void Scheduler::on_draft_accepted(Sequence& sequence) { blocks_.advance(sequence, 1); }

void Scheduler::on_drafts_verified(const ScheduledSequence& scheduled) {
  Sequence& sequence = *scheduled.sequence;
  sequence.draft_tokens.clear();
  const int num_spare = static_cast<int>(sequence.block_table.size()) -
                        blocks_.blocks_for(sequence.num_computed_tokens);
  blocks_.shrink(sequence, std::min(scheduled.num_draft_blocks, num_spare));
}

void Scheduler::remove(Sequence& sequence) {
  queues_.remove(sequence);
  blocks_.release(sequence);
}

}  // namespace iol
