#pragma once
#include <vector>

#include "request/sequence.h"

namespace iol {

/// The part of one sequence that a step computes: tokens [num_computed, num_computed + num_tokens)
/// and drafts behind them.
struct ScheduledSequence {
  Sequence* sequence;  // not owned
  int num_tokens;      // q_len: 1 in decode, a chunk in prefill; drafts not counted
  bool needs_logits;   // its last token is the sequence's last: a token will be sampled
  int num_drafts = 0;  // so many of Sequence::draft_tokens follow, each with logits of its own
  int num_draft_blocks = 0;  // at the end of the block table, reserved for them alone

  [[nodiscard]] int num_rows() const { return num_tokens + num_drafts; }
  [[nodiscard]] int num_logit_rows() const { return needs_logits ? 1 + num_drafts : 0; }
  /// Only the host can do that: the device draws none of its tokens.
  [[nodiscard]] bool is_judged_by_rejection() const {
    return num_drafts > 0 && sequence->drafts_were_drawn;
  }
};

/// One step's work, as the scheduler decided it. Blocks are already reserved.
struct Batch {
  std::vector<ScheduledSequence> sequences;
  int num_prefill_tokens = 0;
  int num_decode_tokens = 0;
  int num_draft_tokens = 0;

  [[nodiscard]] bool empty() const { return sequences.empty(); }
  [[nodiscard]] int num_tokens() const {
    return num_prefill_tokens + num_decode_tokens + num_draft_tokens;
  }
};

}  // namespace iol
