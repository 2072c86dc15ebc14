#pragma once
#include <deque>
#include <vector>

#include "request/sequence.h"

namespace iol {

/// True when a is served before b: by priority, then by arrival.
bool is_served_before(const Sequence& a, const Sequence& b);

/// The sequences that the scheduler knows, each in exactly one queue, both queues in the order in
/// which they are served. Pointers are never null; the sequences belong to the engine.
class SequenceQueues {
 public:
  [[nodiscard]] const std::deque<Sequence*>& waiting() const { return waiting_; }
  [[nodiscard]] const std::vector<Sequence*>& running() const { return running_; }

  /// Enters a sequence, new or preempted, where its priority and arrival put it.
  void wait(Sequence& sequence);
  /// Moves the first waiting sequence to the running ones.
  void start_first();
  /// Takes the running sequence that is served last out.
  void pop_last_running();
  /// Takes a sequence out of the queue that holds it. Throws InternalError when none does.
  void remove(Sequence& sequence);

 private:
  std::deque<Sequence*> waiting_;
  std::vector<Sequence*> running_;
};

}  // namespace iol
