#pragma once
#include <memory>
#include <unordered_map>
#include <vector>

#include "engine/request_state.h"
#include "request/batch.h"

namespace iol {

/// A step whose forward pass was begun. Requests may end before it is finished, so they go by their
/// ids.
struct StepUnderWay {
  explicit StepUnderWay(const Batch& begun) : batch(begun) {
    int row = 0;
    for (const ScheduledSequence& scheduled : batch.sequences) {
      requests.push_back(scheduled.sequence->id);
      logit_rows.push_back(scheduled.needs_logits ? row : -1);
      row += scheduled.num_logit_rows();
    }
  }

  /// Leaves out the sequences that ended since.
  void drop_ended(const std::unordered_map<RequestId, std::unique_ptr<RequestState>>& active) {
    std::size_t kept = 0;
    for (std::size_t i = 0; i < requests.size(); ++i) {
      if (!active.contains(requests[i])) continue;
      batch.sequences[kept] = batch.sequences[i];
      requests[kept] = requests[i];
      logit_rows[kept] = logit_rows[i];
      ++kept;
    }
    batch.sequences.resize(kept);
    requests.resize(kept);
    logit_rows.resize(kept);
  }

  Batch batch;                      // its pointers are good until the next request ends
  std::vector<RequestId> requests;  // [sequences]
  std::vector<int> logit_rows;      // [sequences] the first of each; -1: none wanted
  std::int64_t start_ns = 0;        // when the engine turned to it, its drafting done
  std::int64_t begin_ns = 0;        // of the forward pass
  std::int64_t beginning_ns = 0;    // what the host took to begin it
  bool ran_prepared = true;         // see Backend::ran_prepared
  bool was_held_up = false;         // drafts kept it from being begun ahead
};

}  // namespace iol
