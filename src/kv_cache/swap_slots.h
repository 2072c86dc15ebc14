#pragma once
#include <cstdint>
#include <vector>

#include "request/sequence.h"

namespace iol {

/// Who holds which place for a block in the host's memory. Numbers only, as in BlockPool: fills and
/// empties Sequence::swap_slots. O(1) per slot. Not thread-safe.
class SwapSlots {
 public:
  explicit SwapSlots(int num_slots);

  /// Gives a sequence without slots so many. False, and nothing changed, when fewer are free.
  bool take(Sequence& sequence, int count);
  /// Takes its slots back, if it has any.
  void release(Sequence& sequence);

  [[nodiscard]] int num_slots() const { return num_slots_; }
  [[nodiscard]] int num_used() const { return num_slots_ - static_cast<int>(free_.size()); }

 private:
  int num_slots_;
  std::vector<std::int32_t> free_;  // a stack, so that recently used memory comes first
};

}  // namespace iol
