#pragma once
#include <cstdint>

#include "kv_cache/block_tables.h"
#include "request/batch.h"
#include "scheduler/scheduler_policy.h"
#include "scheduler/step_planner.h"

namespace iol {

/// Decides what each step computes.
///
/// One step is: schedule(); the forward pass over the batch; on_step_done(batch); a token appended
/// to the sequences that needed logits, several where drafts are accepted; remove() for those that
/// ended. Sequences stay the caller's and must outlive their time here.
///
/// Speculation: Sequence::draft_tokens of a decoding sequence, filled before schedule(), are taken
/// along as far as the step has room, to be verified by the same forward pass. They stay until
/// on_drafts_verified() or a preemption.
///
/// In-flight: decodes first, then chunks of running prefills, then admissions while the step has
/// tokens and the batch a place left. Static: requests are admitted only when none runs, all
/// prompts are computed before the first decode, and each gets blocks for its whole length.
/// When blocks run out, the running sequence served last loses its blocks and waits again, to be
/// recomputed or, where BlockTables has room for them in the host's memory, brought back; the one
/// served first always goes on, so the work always ends.
///
/// O(running + admitted) per step, without allocation once the queues have grown. Not thread-safe.
class Scheduler {
 public:
  /// Throws InputError for limits below 1. `blocks` outlives the scheduler.
  Scheduler(const SchedulerConfig& config, BlockTables& blocks);

  /// True when a sequence of this many positions could run alone; refuse others at submission.
  [[nodiscard]] bool can_ever_fit(int num_tokens) const { return blocks_.can_ever_fit(num_tokens); }
  /// Positions that a request may come to hold in the cache: its last token is never computed.
  [[nodiscard]] int max_cached_positions(int num_prompt_tokens, int max_tokens) const {
    return iol::max_cached_positions(num_prompt_tokens, max_tokens, config_.max_context);
  }

  /// A new sequence starts to wait. Throws InternalError when it can never fit.
  void add(Sequence& sequence);
  /// Decides the next step. Empty only when no sequence is left, or when those that run await their
  /// last token. The reference is valid until the next call.
  const Batch& schedule();
  /// The keys and values of the batch are in the cache now. Those of drafts don't count yet.
  void on_step_done(const Batch& batch);
  /// The next draft of a sequence turned out right and is the last of its tokens now.
  void on_draft_accepted(Sequence& sequence);
  /// No more drafts of the step are accepted: what the others reserved is given back. Not for
  /// sequences that were removed meanwhile.
  void on_drafts_verified(const ScheduledSequence& scheduled);
  /// Forgets a sequence that ended, failed or was cancelled, and frees its blocks. Between steps.
  void remove(Sequence& sequence);

  [[nodiscard]] bool empty() const {
    return queues_.waiting().empty() && queues_.running().empty();
  }
  [[nodiscard]] int num_running() const { return static_cast<int>(queues_.running().size()); }
  [[nodiscard]] int num_waiting() const { return static_cast<int>(queues_.waiting().size()); }
  [[nodiscard]] std::int64_t num_preemptions() const { return num_preemptions_; }
  [[nodiscard]] const SequenceQueues& queues() const { return queues_; }
  [[nodiscard]] const SchedulerConfig& config() const { return config_; }

 private:
  SchedulerConfig config_;
  BlockTables& blocks_;
  SequenceQueues queues_;
  Batch batch_;
  std::int64_t num_preemptions_ = 0;
};

}  // namespace iol
