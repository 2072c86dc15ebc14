#include "kv_cache/swap_slots.h"

#include "base/error.h"

namespace iol {

SwapSlots::SwapSlots(int num_slots) : num_slots_(num_slots) {
  IOL_CHECK(num_slots >= 0);
  free_.reserve(static_cast<std::size_t>(num_slots));
  for (std::int32_t slot = num_slots - 1; slot >= 0; --slot) free_.push_back(slot);
}

bool SwapSlots::take(Sequence& sequence, int count) {
  IOL_CHECK(sequence.swap_slots.empty());
  if (count > static_cast<int>(free_.size())) return false;
  for (int i = 0; i < count; ++i) {
    sequence.swap_slots.push_back(free_.back());
    free_.pop_back();
  }
  return true;
}

void SwapSlots::release(Sequence& sequence) {
  for (const auto slot : sequence.swap_slots) free_.push_back(slot);
  sequence.swap_slots.clear();
  sequence.num_swapped_tokens = 0;
}

}  // namespace iol
