#include "report/statistics.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/random.h"

namespace iol::report {
namespace {

constexpr int kNumResamples = 10'000;

double sorted_median(std::span<const double> sorted) {
  const std::size_t n = sorted.size();
  return n % 2 == 1 ? sorted[n / 2] : 0.5 * (sorted[n / 2 - 1] + sorted[n / 2]);
}

/// Percentile bootstrap of the median. The two cut-offs are mirror images of each other, so that
/// negated values give the negated interval (the resamples are drawn by rank, not by value).
Interval bootstrap_median(std::span<const double> sorted, std::uint64_t seed, double confidence) {
  const std::size_t n = sorted.size();
  std::vector<double> medians(kNumResamples);
  std::vector<double> resample(n);
  for (std::size_t draw = 0; draw < medians.size(); ++draw) {
    // Draws come in antithetic pairs: the second takes the mirrored ranks of the first.
    RandomStream random(seed, draw / 2);
    for (double& value : resample) {
      const std::size_t rank = random.below(n);
      value = sorted[draw % 2 == 0 ? rank : n - 1 - rank];
    }
    std::sort(resample.begin(), resample.end());
    medians[draw] = sorted_median(resample);
  }
  std::sort(medians.begin(), medians.end());
  const auto cut = static_cast<std::size_t>(0.5 * (1 - confidence) * kNumResamples);
  return {medians[cut], medians[medians.size() - 1 - cut]};
}

double interpolate(const SamplePoint& a, const SamplePoint& b, std::int64_t t_ns) {
  if (a.t_ns == b.t_ns) return b.value;
  const double weight = static_cast<double>(t_ns - a.t_ns) / static_cast<double>(b.t_ns - a.t_ns);
  return a.value + weight * (b.value - a.value);
}

}  // namespace

double nearest_rank(std::span<const double> sorted, double percent) {
  IOL_CHECK(!sorted.empty());
  IOL_CHECK(percent > 0 && percent <= 100);
  const auto n = static_cast<double>(sorted.size());
  // n * percent first: 0.95 * 20 would round up past 19 in binary.
  const double rank = std::ceil(n * percent / 100.0);
  return sorted[static_cast<std::size_t>(std::max(rank, 1.0)) - 1];
}

std::optional<Distribution> describe(std::vector<double> values) {
  if (values.empty()) return std::nullopt;
  std::sort(values.begin(), values.end());
  Distribution result;
  result.count = static_cast<std::int64_t>(values.size());
  const auto n = static_cast<double>(values.size());
  for (const double value : values) result.mean += value / n;
  double remainder = 0;  // what rounding left out of the mean (second pass)
  for (const double value : values) remainder += value - result.mean;
  result.mean += remainder / n;
  double squares = 0;  // around the mean: stable for a small spread on a large offset
  for (const double value : values) squares += (value - result.mean) * (value - result.mean);
  result.std = values.size() > 1 ? std::sqrt(squares / (n - 1)) : 0.0;
  result.min = values.front();
  result.p50 = nearest_rank(values, 50);
  result.p90 = nearest_rank(values, 90);
  result.p95 = nearest_rank(values, 95);
  result.p99 = nearest_rank(values, 99);
  result.max = values.back();
  return result;
}

double median(std::vector<double> values) {
  IOL_CHECK(!values.empty());
  std::sort(values.begin(), values.end());
  return sorted_median(values);
}

double binomial_cdf(std::int64_t n, std::int64_t k, double p) {
  if (k >= n || p <= 0) return 1;
  if (p >= 1) return 0;
  // Each term from the one before: P(i) = P(i - 1) * (n - i + 1) / i * p / (1 - p).
  const double log_odds = std::log(p) - std::log1p(-p);
  double log_term = static_cast<double>(n) * std::log1p(-p);
  double sum = std::exp(log_term);
  for (std::int64_t i = 1; i <= k; ++i) {
    log_term += std::log(static_cast<double>(n - i + 1) / static_cast<double>(i)) + log_odds;
    sum += std::exp(log_term);
  }
  return std::min(sum, 1.0);
}

std::int64_t median_interval_rank(std::int64_t n, double confidence) {
  std::int64_t rank = 1;
  double log_term = static_cast<double>(n) * std::log(0.5);
  double cdf = std::exp(log_term);  // P(Binomial(n, 1/2) <= 0), then <= rank
  for (; 2 * (rank + 1) <= n; ++rank) {
    log_term += std::log(static_cast<double>(n - rank + 1) / static_cast<double>(rank));
    cdf += std::exp(log_term);
    if (2 * cdf > 1 - confidence) break;
  }
  return rank;
}

PairedRatio paired_ratio(std::span<const double> numerator, std::span<const double> denominator,
                         std::uint64_t seed, double confidence) {
  IOL_CHECK(numerator.size() == denominator.size());
  IOL_CHECK(!numerator.empty());
  std::vector<double> logs(numerator.size());
  for (std::size_t i = 0; i < logs.size(); ++i) {
    IOL_CHECK(numerator[i] > 0 && denominator[i] > 0);
    logs[i] = std::log(numerator[i]) - std::log(denominator[i]);
  }
  std::sort(logs.begin(), logs.end());
  PairedRatio result;
  result.pairs = static_cast<std::int64_t>(logs.size());
  result.ratio = std::exp(sorted_median(logs));
  if (logs.size() < 2) return result;
  const Interval bootstrap = bootstrap_median(logs, seed, confidence);
  const auto rank = static_cast<std::size_t>(median_interval_rank(result.pairs, confidence));
  result.interval = Interval{std::exp(std::min(bootstrap.low, logs[rank - 1])),
                             std::exp(std::max(bootstrap.high, logs[logs.size() - rank]))};
  const double range_coverage = 1 - std::exp2(1 - static_cast<double>(logs.size()));
  result.confidence = std::min(confidence, range_coverage);
  return result;
}

std::optional<PairedRatio> self_ratio(std::span<const double> values, std::uint64_t seed) {
  std::vector<double> numerator;
  std::vector<double> denominator;
  for (std::size_t i = 0; i + 1 < values.size(); i += 2) {
    const bool forward = (i / 2) % 2 == 0;
    numerator.push_back(forward ? values[i + 1] : values[i]);
    denominator.push_back(forward ? values[i] : values[i + 1]);
  }
  if (numerator.empty()) return std::nullopt;
  return paired_ratio(numerator, denominator, seed);
}

std::optional<double> integrate(std::span<const SamplePoint> samples, std::int64_t begin_ns,
                                std::int64_t end_ns, std::int64_t max_gap_ns) {
  if (samples.empty() || end_ns <= begin_ns) return std::nullopt;
  // The window's edges, held at the value of the outermost sample.
  std::vector<SamplePoint> points;
  if (samples.front().t_ns > begin_ns) points.push_back({begin_ns, samples.front().value});
  points.insert(points.end(), samples.begin(), samples.end());
  if (samples.back().t_ns < end_ns) points.push_back({end_ns, samples.back().value});
  double area = 0;
  for (std::size_t i = 1; i < points.size(); ++i) {
    const SamplePoint& a = points[i - 1];
    const SamplePoint& b = points[i];
    if (b.t_ns <= begin_ns || a.t_ns >= end_ns) continue;
    if (b.t_ns - a.t_ns > max_gap_ns) return std::nullopt;
    const std::int64_t from = std::max(a.t_ns, begin_ns);
    const std::int64_t to = std::min(b.t_ns, end_ns);
    area += 0.5 * (interpolate(a, b, from) + interpolate(a, b, to)) *
            (static_cast<double>(to - from) * 1e-9);
  }
  return area;
}

}  // namespace iol::report
