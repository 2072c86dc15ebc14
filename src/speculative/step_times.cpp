#include "speculative/step_times.h"

#include <algorithm>
#include <cmath>

namespace iol {
namespace {

// Row counts up to here have an entry each, then 12 per doubling.
constexpr int kExactRows = 24;
// Of one more row, before two row counts were seen: in parts of the time of the first. It is learnt
// from passes over many rows, and outlasts their entries.
constexpr double kGuessedRowShare = 0.08;
constexpr int kManyRows = 8;  // times as many, and at least so many:
constexpr int kLeastManyRows = 48;
constexpr double kRowShareGain = 0.3;
constexpr double kDearerShareGain =
    0.7;  // where rows take longer than was known: what follows does too
// Of an observation's surprise, what the scale of all takes; an entry takes one part in its weight:
// what is known well changes with the rest.
constexpr double kScaleGain = 0.05;
constexpr double kMostWeight = 100;
// Of its weight, what an entry keeps as others are observed. What was seen a few times, perhaps in
// a slow moment, is forgotten in the end; other entries keep a little.
constexpr double kKeepWeight = 0.99;
constexpr double kLeastWeight = 0.04;
constexpr double kLeastKnownWeight = 1.0;
// An entry of so few observations is begun anew by one that took this much less time.
constexpr int kFewSeen = 3;
constexpr double kTooSlowToStand = 0.7;
constexpr double kFirstVariance = 0.05 * 0.05;
constexpr double kVarianceGain = 0.02;

}  // namespace

StepTimes::StepTimes(double seconds_guess)
    : seconds_guess_(seconds_guess), row_share_(kGuessedRowShare), variance_(kFirstVariance) {}

int StepTimes::bucket_of(int num_rows) {
  if (num_rows <= kExactRows) return std::max(num_rows, 1) - 1;
  const double doublings = std::log2(static_cast<double>(num_rows) / kExactRows);
  return kExactRows + static_cast<int>(12 * doublings);
}

StepTimes::Entry* StepTimes::find_or_add(int num_rows, double seconds) {
  const int bucket = bucket_of(num_rows);
  const auto place = std::ranges::lower_bound(entries_, bucket, {}, &Entry::bucket);
  if (place != entries_.end() && place->bucket == bucket) return &*place;
  entries_.insert(place, {bucket, seconds / scale_, static_cast<double>(num_rows), 1, 1});
  return nullptr;
}

void StepTimes::fade() {
  for (Entry& entry : entries_) {
    entry.weight *= kKeepWeight;
    if (entry.num_seen >= kFewSeen) entry.weight = std::max(entry.weight, kLeastKnownWeight);
  }
  // The one that is known best stays.
  const auto best = std::ranges::max_element(entries_, {}, &Entry::weight);
  if (best == entries_.end()) return;
  const double least = std::min(kLeastWeight, best->weight);
  std::erase_if(entries_, [least](const Entry& entry) { return entry.weight < least; });
}

void StepTimes::learn_row_share(int num_rows, double seconds) {
  if (entries_.empty() || num_rows < kLeastManyRows) return;
  if (num_rows < kManyRows * entries_.front().num_rows) return;
  const Entry& few = entries_.front();
  const double few_seconds = few.seconds * scale_;
  const double share = (seconds / few_seconds - 1) / (num_rows - few.num_rows);
  const double ratio = std::clamp(share / row_share_, 0.3, 30.0);
  row_share_ *= std::pow(ratio, ratio > 1 ? kDearerShareGain : kRowShareGain);
}

void StepTimes::observe(int num_rows, double seconds) {
  fade();
  learn_row_share(num_rows, seconds);
  Entry* const found = find_or_add(num_rows, seconds);
  if (found == nullptr) return;
  Entry& entry = *found;
  const double ratio = seconds / (entry.seconds * scale_);
  ++entry.num_seen;
  if (entry.num_seen <= kFewSeen && ratio < kTooSlowToStand) {  // the earlier ones were slow starts
    entry.seconds = seconds / scale_;
    entry.weight = 1;
    return;
  }
  const double error = std::log(std::clamp(ratio, 0.5, 2.0));
  entry.weight = std::min(entry.weight + 1, kMostWeight);
  const double gain = 1 / entry.weight;
  variance_ += kVarianceGain * (error * error - variance_);
  scale_ *= std::exp(kScaleGain * error);
  entry.seconds *= std::exp(gain * error);
  entry.num_rows += gain * (num_rows - entry.num_rows);
}

bool StepTimes::has_seen_about(int num_rows) const {
  const double rows = num_rows;
  return std::ranges::any_of(entries_, [rows](const Entry& entry) {
    return entry.num_rows <= rows && entry.num_rows >= 0.75 * rows;
  });
}

double StepTimes::doubt_seconds(int num_rows) const {
  const Entry* nearest = nullptr;
  const auto distance = [num_rows](const Entry& entry) {
    return std::abs(entry.num_rows - num_rows);
  };
  for (const Entry& entry : entries_) {
    if (nearest == nullptr || distance(entry) < distance(*nearest)) nearest = &entry;
  }
  const double weight = nearest == nullptr ? 1 : std::max(nearest->weight, 0.25);
  return seconds(num_rows) * std::sqrt(variance_ / weight);
}

double StepTimes::seconds(int num_rows) const {
  const double rows = num_rows;
  if (entries_.empty()) return seconds_guess_ * (1 + row_share_ * (rows - 1));
  // The entries around it; beyond the last, the last and one of about half its rows.
  const Entry* below = nullptr;
  const Entry* above = nullptr;
  for (const Entry& entry : entries_) {
    if (entry.num_rows <= rows) below = &entry;
    if (entry.num_rows < rows) continue;
    above = &entry;
    break;
  }
  if (below != nullptr && above != nullptr) {
    if (above->num_rows - below->num_rows < 1e-9) return below->seconds * scale_;
    const double part = (rows - below->num_rows) / (above->num_rows - below->num_rows);
    return scale_ * (below->seconds + part * (above->seconds - below->seconds));
  }
  if (below == nullptr) {  // fewer rows than ever seen
    return scale_ * above->seconds * (1 + row_share_ * (rows - 1)) /
           (1 + row_share_ * (above->num_rows - 1));
  }
  const Entry* half = nullptr;
  for (const Entry& entry : entries_) {
    if (&entry == below) continue;
    if (half == nullptr || entry.num_rows <= 0.6 * below->num_rows) half = &entry;
  }
  double slope = row_share_ * below->seconds / std::max(below->num_rows, 1.0);
  if (half != nullptr) {
    slope = std::max(0.0, (below->seconds - half->seconds) / (below->num_rows - half->num_rows));
  }
  // A few rows may be free where many are not.
  const double num_more = rows - below->num_rows;
  if (rows >= kManyRows * below->num_rows)
    slope = std::max(slope, row_share_ * entries_.front().seconds);
  return scale_ * (below->seconds + slope * num_more);
}

}  // namespace iol
