#include "speculative/step_times.h"

#include <algorithm>
#include <cmath>

namespace iol {
namespace {

// Row counts up to here have an entry each, then 12 per doubling.
constexpr int kExactRows = 24;
// Of one more row, before two row counts were seen: in parts of the time of the first.
constexpr double kGuessedRowShare = 0.08;
// Of an observation's surprise, what its own entry takes at least, and what the scale of all takes:
// what is known well changes with the rest.
constexpr double kEntryGain = 0.01;
constexpr double kScaleGain = 0.05;

}  // namespace

StepTimes::StepTimes(double seconds_guess) : seconds_guess_(seconds_guess) {}

int StepTimes::bucket_of(int num_rows) {
  if (num_rows <= kExactRows) return std::max(num_rows, 1) - 1;
  const double doublings = std::log2(static_cast<double>(num_rows) / kExactRows);
  return std::min(kExactRows + static_cast<int>(12 * doublings), kNumBuckets - 1);
}

void StepTimes::observe(int num_rows, double seconds) {
  Entry& entry = entries_[static_cast<std::size_t>(bucket_of(num_rows))];
  if (num_seen_ == 0) scale_ = 1;
  if (entry.count == 0) {
    ++num_seen_;
    most_rows_ = std::max(most_rows_, num_rows);
    entry = {seconds / scale_, static_cast<double>(num_rows), 1};
    return;
  }
  const double ratio = seconds / (entry.seconds * scale_);
  const double error = std::log(std::clamp(ratio, 0.5, 2.0));
  const double gain = std::max(kEntryGain, 1.0 / static_cast<double>(entry.count + 1));
  scale_ *= std::exp(kScaleGain * error);
  entry.seconds *= std::exp(gain * error);
  entry.num_rows += gain * (num_rows - entry.num_rows);
  ++entry.count;
}

bool StepTimes::has_seen_about(int num_rows) const {
  const double rows = num_rows;
  return std::ranges::any_of(entries_, [rows](const Entry& entry) {
    return entry.count > 0 && entry.num_rows <= rows && entry.num_rows >= 0.75 * rows;
  });
}

double StepTimes::seconds(int num_rows) const {
  const double rows = num_rows;
  if (num_seen_ == 0) return seconds_guess_ * (1 + kGuessedRowShare * (rows - 1));
  // The entries around it; beyond the last, the last and one of about half its rows.
  const Entry* below = nullptr;
  const Entry* above = nullptr;
  for (const Entry& entry : entries_) {
    if (entry.count == 0) continue;
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
    return scale_ * above->seconds * (1 + kGuessedRowShare * (rows - 1)) /
           (1 + kGuessedRowShare * (above->num_rows - 1));
  }
  const Entry* half = nullptr;
  for (const Entry& entry : entries_) {
    if (entry.count == 0 || &entry == below) continue;
    if (half == nullptr || entry.num_rows <= 0.6 * below->num_rows) half = &entry;
  }
  double slope = kGuessedRowShare * below->seconds / std::max(below->num_rows, 1.0);
  if (half != nullptr) {
    slope = std::max(0.0, (below->seconds - half->seconds) / (below->num_rows - half->num_rows));
  }
  return scale_ * (below->seconds + slope * (rows - below->num_rows));
}

}  // namespace iol
