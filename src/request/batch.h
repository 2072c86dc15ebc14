#pragma once
#include <vector>

#include "request/sequence.h"

namespace iol {

/// The part of one sequence that a step computes: tokens [num_computed, num_computed + num_tokens).
struct ScheduledSequence {
  Sequence* sequence;  // not owned
  int num_tokens;      // q_len: 1 in decode, a chunk in prefill
  bool needs_logits;   // its last token is the sequence's last: a token will be sampled
};

/// One step's work, as the scheduler decided it. Blocks are already reserved.
struct Batch {
  std::vector<ScheduledSequence> sequences;
  int num_prefill_tokens = 0;
  int num_decode_tokens = 0;

  [[nodiscard]] bool empty() const { return sequences.empty(); }
  [[nodiscard]] int num_tokens() const { return num_prefill_tokens + num_decode_tokens; }
};

}  // namespace iol
