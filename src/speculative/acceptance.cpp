#include "speculative/acceptance.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace iol {
namespace {

// In judged drafts: what others saw, what the place before says, and a usual rate to begin with.
constexpr double kInheritedWeight = 6;
constexpr double kNeighbourWeight = 4;
constexpr double kUsualWeight = 6;
// Evidence halves about every 350 steps without more of it, down to so many judged drafts.
constexpr double kKeepPerStep = 0.998;
constexpr double kLastingWeight = 4;
// Width of the interval, in standard deviations.
constexpr double kHope = 1.3;

}  // namespace

Acceptance::Acceptance(double usual_rate, double memory) : keep_(1 - 1 / memory) {
  counts_[0] = {usual_rate * kUsualWeight, kUsualWeight};
}

Acceptance::Acceptance(const Acceptance& others, double memory)
    : is_of_request_(true), keep_(1 - 1 / memory) {
  for (int place = 0; place < kNumPlaces; ++place) {
    inherited_[static_cast<std::size_t>(place)] = others.weighted_rate(place);
  }
}

int Acceptance::place_of(int index) {
  return std::min(static_cast<int>(std::bit_width(static_cast<unsigned>(index))), kNumPlaces - 1);
}

void Acceptance::observe(int place, bool accepted) {
  Counts& counts = counts_[static_cast<std::size_t>(place_of(place))];
  counts.accepted = keep_ * counts.accepted + (accepted ? 1 : 0);
  counts.judged = keep_ * counts.judged + 1;
}

void Acceptance::fade(int num_steps) {
  const double kept = num_steps == 1 ? kKeepPerStep : std::pow(kKeepPerStep, num_steps);
  for (Counts& counts : counts_) {
    if (counts.judged <= kLastingWeight) continue;
    const double scale = std::max(kept, kLastingWeight / counts.judged);
    counts.accepted *= scale;
    counts.judged *= scale;
  }
}

double Acceptance::prior(int place) const {
  if (is_of_request_) return inherited_[static_cast<std::size_t>(place)];
  return place == 0 ? 0 : weighted_rate(place - 1);
}

double Acceptance::prior_weight(int place) const {
  if (is_of_request_) return kInheritedWeight;
  return place == 0 ? 0 : kNeighbourWeight;
}

double Acceptance::weighted_rate(int place) const {
  const Counts& counts = counts_[static_cast<std::size_t>(place)];
  const double weight = prior_weight(place);
  return (counts.accepted + weight * prior(place)) / (counts.judged + weight);
}

double Acceptance::rate(int place) const { return weighted_rate(place_of(place)); }

double Acceptance::hopeful_rate(int place) const {
  const double p = weighted_rate(place);
  const double n = counts_[static_cast<std::size_t>(place)].judged + prior_weight(place);
  constexpr double kSquare = kHope * kHope;
  const double spread = kHope * std::sqrt(p * (1 - p) / n + kSquare / (4 * n * n));
  return std::min(1.0, (p + kSquare / (2 * n) + spread) / (1 + kSquare / n));
}

template <class Rate>
DraftChances Acceptance::chances_of(Rate rate) {
  DraftChances chances;
  double chance = 1;
  int last = -1;
  double rate_here = 0;
  for (int i = 0; i < kMaxDraftDepth; ++i) {
    const int place = place_of(i);
    if (place != last) rate_here = rate(place);
    last = place;
    chance *= rate_here;
    chances[static_cast<std::size_t>(i)] = static_cast<float>(chance);
  }
  return chances;
}

DraftChances Acceptance::likely_chances() const {
  return chances_of([this](int place) { return weighted_rate(place); });
}

DraftChances Acceptance::hopeful_chances() const {
  return chances_of([this](int place) { return hopeful_rate(place); });
}

double Acceptance::overall_rate() const {
  double accepted = 0;
  double judged = 0;
  for (const Counts& counts : counts_) {
    accepted += counts.accepted;
    judged += counts.judged;
  }
  return judged > 0 ? accepted / judged : 0;
}

}  // namespace iol
