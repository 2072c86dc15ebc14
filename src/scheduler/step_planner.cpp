#include "scheduler/step_planner.h"

#include <algorithm>

#include "base/error.h"

namespace iol {

int max_cached_positions(int num_prompt_tokens, int max_tokens, int max_context) {
  const std::int64_t length =
      std::min(std::int64_t{num_prompt_tokens} + max_tokens, std::int64_t{max_context});
  return std::max(static_cast<int>(length) - 1, num_prompt_tokens);
}

StepPlanner::StepPlanner(const SchedulerConfig& config, BlockTables& blocks, SequenceQueues& queues,
                         Batch& batch)
    : config_(config),
      blocks_(blocks),
      queues_(queues),
      batch_(batch),
      budget_(config.max_step_tokens),
      draft_budget_(config.max_step_drafts) {}

void StepPlanner::add_decodes() {
  // Preemption takes from the end of `running`, so the loop's index stays good.
  const auto& running = queues_.running();
  for (std::size_t i = 0; i < running.size(); ++i) {
    Sequence& sequence = *running[i];
    if (!sequence.is_decoding || sequence.awaits_last_token) continue;
    IOL_CHECK(sequence.num_tokens() == sequence.num_computed_tokens + 1 && budget_ > 0);
    if (reserve(sequence, 1)) add(sequence, 1);
  }
}

void StepPlanner::add_drafts() {
  for (ScheduledSequence& scheduled : batch_.sequences) {
    Sequence& sequence = *scheduled.sequence;
    if (sequence.draft_tokens.empty()) continue;
    IOL_CHECK(sequence.is_decoding && scheduled.needs_logits);
    const int num_held = static_cast<int>(sequence.block_table.size());
    // What drafts can have without anybody's loss: rows and blocks that nobody has asked for.
    const int most_positions = (num_held + blocks_.num_available_blocks()) * blocks_.block_size();
    const int num_drafts = std::min({static_cast<int>(sequence.draft_tokens.size()), budget_,
                                     draft_budget_, most_positions - sequence.num_tokens()});
    if (num_drafts <= 0) continue;
    if (!blocks_.extend(sequence, sequence.num_tokens() + num_drafts)) continue;
    scheduled.num_drafts = num_drafts;
    scheduled.num_draft_blocks = static_cast<int>(sequence.block_table.size()) - num_held;
    batch_.num_draft_tokens += num_drafts;
    budget_ -= num_drafts;
    draft_budget_ -= num_drafts;
  }
}

void StepPlanner::add_prefills() {
  const auto& running = queues_.running();
  for (std::size_t i = 0; i < running.size() && budget_ > 0; ++i) {
    Sequence& sequence = *running[i];
    if (sequence.is_decoding) continue;
    const int num_missing = sequence.num_tokens() - sequence.num_computed_tokens;
    add(sequence, std::min(num_missing, budget_));
  }
}

void StepPlanner::admit_for_step() {
  while (has_place() && budget_ > 0) {
    Sequence& sequence = *queues_.waiting().front();
    // A block in hand for each running sequence: admitting into the last block would mean
    // preempting again within a few steps.
    const int num_spare_blocks = static_cast<int>(queues_.running().size());
    if (!blocks_.admit(sequence, sequence.num_tokens(), max_positions_of(sequence),
                       num_spare_blocks)) {
      return;
    }
    queues_.start_first();
    add(sequence, std::min(sequence.num_tokens() - sequence.num_computed_tokens, budget_));
  }
}

void StepPlanner::admit_for_whole_length() {
  while (has_place()) {
    Sequence& sequence = *queues_.waiting().front();
    const int max_positions = max_positions_of(sequence);
    if (!blocks_.admit(sequence, max_positions, max_positions)) return;
    queues_.start_first();
  }
}

bool StepPlanner::has_place() const {
  const int max_running = std::min(config_.max_batch, config_.max_step_tokens);
  return !queues_.waiting().empty() && static_cast<int>(queues_.running().size()) < max_running;
}

int StepPlanner::max_positions_of(const Sequence& sequence) const {
  return max_cached_positions(sequence.num_prompt_tokens, sequence.sampling.max_tokens,
                              config_.max_context);
}

void StepPlanner::add(Sequence& sequence, int num_tokens) {
  const bool needs_logits = sequence.num_computed_tokens + num_tokens == sequence.num_tokens();
  batch_.sequences.push_back({&sequence, num_tokens, needs_logits});
  (sequence.is_decoding ? batch_.num_decode_tokens : batch_.num_prefill_tokens) += num_tokens;
  budget_ -= num_tokens;
}

/// Blocks for the sequence's next tokens, at the cost of those served after it. False when it was
/// itself the last and had to go.
bool StepPlanner::reserve(Sequence& sequence, int num_tokens) {
  while (!blocks_.extend(sequence, sequence.num_computed_tokens + num_tokens)) {
    // Alone it fits: add() of the scheduler saw to that.
    IOL_CHECK(queues_.running().size() > 1);
    const bool is_last = queues_.running().back() == &sequence;
    preempt_last();
    if (is_last) return false;
  }
  return true;
}

/// The last is in no batch yet: decodes are added in order, and prefills, which have had their
/// blocks since admission, after them.
void StepPlanner::preempt_last() {
  Sequence& victim = *queues_.running().back();
  blocks_.preempt(victim);
  victim.draft_tokens.clear();
  victim.is_decoding = false;
  ++victim.num_preemptions;
  ++num_preemptions_;
  queues_.pop_last_running();
  queues_.wait(victim);
}

}  // namespace iol
