#include "speculative/output_lengths.h"

#include <algorithm>

namespace iol {
namespace {

constexpr std::size_t kRemembered = 64;
// Beside those that went on: that many requests of a usual length, or twice what there is so far.
constexpr double kUsualWeight = 0.5;
constexpr double kUsualRest = 200;

}  // namespace

void OutputLengths::observe(int num_tokens) {
  if (latest_.size() < kRemembered) {
    latest_.push_back(num_tokens);
  } else {
    latest_[next_] = num_tokens;
    next_ = (next_ + 1) % kRemembered;
  }
  sorted_ = latest_;
  std::ranges::sort(sorted_);
}

double OutputLengths::expected_rest(int num_tokens) const {
  double sum = kUsualWeight * std::max(kUsualRest, static_cast<double>(num_tokens));
  double weight = kUsualWeight;
  for (const int length : latest_) {
    if (length <= num_tokens) continue;
    sum += length - num_tokens;
    weight += 1;
  }
  return sum / weight;
}

DraftChances OutputLengths::wanted_chances(int num_tokens) const {
  DraftChances chances;
  auto next = std::ranges::upper_bound(sorted_, num_tokens);
  const double num_longer = kUsualWeight + static_cast<double>(sorted_.end() - next);
  for (std::size_t i = 0; i < chances.size(); ++i) {
    const int wanted = num_tokens + 2 + static_cast<int>(i);
    while (next != sorted_.end() && *next < wanted) ++next;
    chances[i] =
        static_cast<float>((kUsualWeight + static_cast<double>(sorted_.end() - next)) / num_longer);
  }
  return chances;
}

}  // namespace iol
