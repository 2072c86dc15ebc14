#include "workload/length_histogram.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.h"

namespace iol {

void LengthHistogram::add(std::int64_t length) {
  IOL_CHECK(length >= 0);
  if (length < kDirect) {
    ++direct_[static_cast<std::size_t>(length)];
  } else {
    ++others_[length];
  }
  ++count_;
  max_ = std::max(max_, length);
  sum_ += static_cast<double>(length);
}

double LengthHistogram::mean() const {
  return count_ == 0 ? 0 : sum_ / static_cast<double>(count_);
}

std::vector<std::int64_t> LengthHistogram::percentiles(const std::vector<double>& percents) const {
  std::vector<std::pair<std::int64_t, std::int64_t>> counts;
  for (std::int64_t length = 0; length < kDirect; ++length) {
    const std::int64_t count = direct_[static_cast<std::size_t>(length)];
    if (count > 0) counts.emplace_back(length, count);
  }
  const auto first_other = static_cast<std::ptrdiff_t>(counts.size());
  counts.insert(counts.end(), others_.begin(), others_.end());
  std::sort(counts.begin() + first_other, counts.end());
  std::vector<std::int64_t> result;
  std::size_t place = 0;
  std::int64_t reached = 0;  // how many are below counts[place]
  for (const double percent : percents) {
    if (counts.empty()) {
      result.push_back(0);
      continue;
    }
    const auto rank = static_cast<std::int64_t>(
        std::max(std::ceil(static_cast<double>(count_) * percent / 100.0), 1.0));
    while (reached + counts[place].second < rank) reached += counts[place++].second;
    result.push_back(counts[place].first);
  }
  return result;
}

}  // namespace iol
