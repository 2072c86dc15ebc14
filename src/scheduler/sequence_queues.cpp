#include "scheduler/sequence_queues.h"

#include <algorithm>

#include "base/error.h"

namespace iol {
namespace {

/// Where `sequence` is, or belongs, in a queue.
template <class Queue>
auto position_in(Queue& queue, const Sequence& sequence) {
  return std::lower_bound(
      queue.begin(), queue.end(), &sequence,
      [](const Sequence* a, const Sequence* b) { return is_served_before(*a, *b); });
}

template <class Queue>
bool erase_from(Queue& queue, const Sequence& sequence) {
  const auto position = position_in(queue, sequence);
  if (position == queue.end() || *position != &sequence) return false;
  queue.erase(position);
  return true;
}

}  // namespace

bool is_served_before(const Sequence& a, const Sequence& b) {
  if (a.priority != b.priority) return a.priority < b.priority;
  return a.arrival_index < b.arrival_index;
}

void SequenceQueues::wait(Sequence& sequence) {
  waiting_.insert(position_in(waiting_, sequence), &sequence);
}

void SequenceQueues::start_first() {
  Sequence* sequence = waiting_.front();
  waiting_.pop_front();
  running_.insert(position_in(running_, *sequence), sequence);
}

void SequenceQueues::pop_last_running() { running_.pop_back(); }

void SequenceQueues::remove(Sequence& sequence) {
  const bool found = erase_from(running_, sequence) || erase_from(waiting_, sequence);
  IOL_CHECK(found);
}

}  // namespace iol
