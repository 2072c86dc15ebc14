#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace iol {

/// A token that can be drawn, and its probability relative to the most likely one's.
struct Candidate {
  std::int32_t token;
  float weight;
};

/// Calls visit(index) for every value that is at least `threshold`, in ascending order; fast where
/// few are.
template <class Visit>
void for_each_at_least(std::span<const float> values, float threshold, Visit&& visit) {
  constexpr std::size_t kLanes = 16;
  std::size_t begin = 0;
  for (; begin + kLanes <= values.size(); begin += kLanes) {
    std::uint32_t any = 0;
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      any |= values[begin + lane] >= threshold ? 1U : 0U;
    }
    if (any == 0) continue;
    for (std::size_t i = begin; i < begin + kLanes; ++i) {
      if (values[i] >= threshold) visit(i);
    }
  }
  for (; begin < values.size(); ++begin) {
    if (values[begin] >= threshold) visit(begin);
  }
}

/// Partial selections in linear time: none sorts the vocabulary. One thread at a time (scratch).
class Truncation {
 public:
  /// The k-th largest value, k >= 1; minus infinity when fewer than k are larger than that.
  float kth_largest(std::span<const float> values, int k);

  /// Keeps the heaviest candidates whose sum first reaches `target` (> 0), the first in the list
  /// among equals; all when the sum never does. The order stays.
  void keep_heaviest(std::vector<Candidate>& candidates, double target);

 private:
  std::vector<float> scratch_;
};

}  // namespace iol
