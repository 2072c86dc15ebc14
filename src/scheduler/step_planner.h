#pragma once
#include <cstdint>

#include "kv_cache/block_tables.h"
#include "request/batch.h"
#include "scheduler/scheduler_policy.h"
#include "scheduler/sequence_queues.h"

namespace iol {

struct SchedulerConfig {
  SchedulerPolicy policy = SchedulerPolicy::kInFlight;
  int max_batch = 64;         // sequences that run at a time; at most max_step_tokens count
  int max_step_tokens = 512;  // tokens in a step, prefill and decode together
  int max_context = 0;        // positions per sequence
  int max_step_drafts = 0;    // draft tokens in a step; they count in max_step_tokens too
};

/// Positions that a request may come to hold in the cache: its last token is never computed.
int max_cached_positions(int num_prompt_tokens, int max_tokens, int max_context);

/// The moves of which the policies make a step. Each keeps to the token budget, and what it
/// adds to the batch has its blocks. Decodes are added before prefills, if at all.
class StepPlanner {
 public:
  /// All are the scheduler's own and outlive the planner; `batch` is empty.
  StepPlanner(const SchedulerConfig& config, BlockTables& blocks, SequenceQueues& queues,
              Batch& batch);

  /// Adds every decoding sequence with its one token that is not computed yet.
  void add_decodes();
  /// Adds the draft tokens of the decodes in the batch, first come first served, as far as rows and
  /// blocks are left: comes last, so that nobody waits or is preempted for a draft.
  void add_drafts();
  /// Adds the next chunk of every running prefill, first come first served.
  void add_prefills();
  /// Starts waiting sequences in order, with blocks for the tokens they have, and adds their first
  /// chunks. Stops at the first that does not fit: none overtakes it.
  void admit_for_step();
  /// Starts waiting sequences in order, with blocks for all they may ever need, and leaves their
  /// chunks to add_prefills().
  void admit_for_whole_length();

  [[nodiscard]] bool has_running() const { return !queues_.running().empty(); }
  [[nodiscard]] bool is_step_empty() const { return batch_.empty(); }
  [[nodiscard]] int num_preemptions() const { return num_preemptions_; }

 private:
  [[nodiscard]] bool has_place() const;
  [[nodiscard]] int max_positions_of(const Sequence& sequence) const;
  void add(Sequence& sequence, int num_tokens);
  bool reserve(Sequence& sequence, int num_tokens);
  void preempt_last();

  const SchedulerConfig& config_;
  BlockTables& blocks_;
  SequenceQueues& queues_;
  Batch& batch_;
  int budget_;        // tokens left in this step
  int draft_budget_;  // and of these, drafts
  int num_preemptions_ = 0;
};

}  // namespace iol
