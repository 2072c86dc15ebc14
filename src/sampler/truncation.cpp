#include "sampler/truncation.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>

#include "base/random.h"

namespace iol {
namespace {

constexpr std::size_t kLanes = 16;

bool any_above(const float* values, float threshold) {
  std::array<std::uint32_t, kLanes> above{};
  for (std::size_t lane = 0; lane < kLanes; ++lane) above[lane] = values[lane] > threshold ? 1 : 0;
  std::uint32_t any = 0;
  for (std::size_t lane = 0; lane < kLanes; ++lane) any |= above[lane];
  return any != 0;
}

}  // namespace

float Truncation::kth_largest(std::span<const float> values, int k) {
  constexpr float kLowest = -std::numeric_limits<float>::infinity();
  const auto count = static_cast<std::size_t>(k);
  const std::size_t capacity = std::max<std::size_t>(2 * count, 1024);
  auto& largest = scratch_;
  largest.clear();
  float threshold = kLowest;  // the k-th largest so far: what is not above changes nothing
  const auto keep_k = [&] {
    if (largest.size() < count) return;
    const auto kth = largest.begin() + static_cast<std::ptrdiff_t>(count - 1);
    std::nth_element(largest.begin(), kth, largest.end(), std::greater<>());
    threshold = *kth;
    largest.resize(count);
  };
  for (std::size_t begin = 0; begin < values.size(); begin += kLanes) {
    const std::size_t end = std::min(begin + kLanes, values.size());
    if (end - begin == kLanes && !any_above(values.data() + begin, threshold)) continue;
    for (std::size_t i = begin; i < end; ++i) {
      if (values[i] > threshold) largest.push_back(values[i]);
    }
    if (largest.size() >= capacity) keep_k();
  }
  keep_k();
  return threshold;
}

void Truncation::keep_heaviest(std::vector<Candidate>& candidates, double target) {
  auto& weights = scratch_;
  weights.clear();
  for (const Candidate& candidate : candidates) weights.push_back(candidate.weight);

  // Quickselect by sum: `above` is the sum of weights known to be kept, and the border lies within
  // [begin, end).
  double above = 0;
  float border = -1.0F;       // candidates heavier than this stay
  std::int64_t num_ties = 0;  // and so many that weigh just as much
  auto begin = weights.begin();
  auto end = weights.end();
  for (std::uint64_t round = 0; begin < end; ++round) {
    const auto size = static_cast<std::uint64_t>(end - begin);
    const float pivot = begin[static_cast<std::ptrdiff_t>(random_bits(0, 0, round) % size)];
    const auto heavier_end =
        std::partition(begin, end, [pivot](float weight) { return weight > pivot; });
    const auto equal_end =
        std::partition(heavier_end, end, [pivot](float weight) { return weight == pivot; });
    double with_heavier = above;
    for (auto weight = begin; weight < heavier_end; ++weight) with_heavier += double{*weight};
    if (with_heavier >= target) {
      end = heavier_end;
      continue;
    }
    const double with_equal =
        with_heavier + static_cast<double>(equal_end - heavier_end) * double{pivot};
    if (with_equal >= target) {
      border = pivot;
      num_ties = static_cast<std::int64_t>(std::ceil((target - with_heavier) / double{pivot}));
      break;
    }
    above = with_equal;
    begin = equal_end;
  }
  auto kept = candidates.begin();
  for (const Candidate& candidate : candidates) {
    const bool is_tie = candidate.weight == border && num_ties > 0;
    if (is_tie) --num_ties;
    if (is_tie || candidate.weight > border) *kept++ = candidate;
  }
  candidates.erase(kept, candidates.end());
}

}  // namespace iol
