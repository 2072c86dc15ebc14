#pragma once
// The estimators of every number in a report.
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace iol::report {

/// Nearest-rank percentile: the smallest value such that at least `percent` of the values are at
/// or below it, i.e. sorted[ceil(percent / 100 * n) - 1]. Always one of the values, never an
/// interpolation. `sorted` ascending and not empty; 0 < percent <= 100.
double nearest_rank(std::span<const double> sorted, double percent);

/// A summary of a sample of finite values.
struct Distribution {
  std::int64_t count = 0;
  double mean = 0;
  double std = 0;  // of the sample (n - 1); 0 for one value
  double min = 0;
  double p50 = 0;  // percentiles by nearest rank
  double p90 = 0;
  double p95 = 0;
  double p99 = 0;
  double max = 0;
};

/// Nothing for an empty sample: an absent measurement is absent, not 0.
std::optional<Distribution> describe(std::vector<double> values);

/// The middle value, or the mean of the two middle ones. `values` not empty.
double median(std::vector<double> values);

/// A 95 % interval around `estimate`.
struct Interval {
  double low = 0;
  double high = 0;
  bool contains(double value) const { return low <= value && value <= high; }
  bool operator==(const Interval&) const = default;
};

/// The ratio of two interleaved subjects.
struct PairedRatio {
  double ratio = 0;                  // median of the pairs' ratios, by their logarithms
  std::optional<Interval> interval;  // absent for fewer than 2 pairs
  std::int64_t pairs = 0;
  /// The confidence the interval really has: 0.95, or less when there are too few pairs for it
  /// (the range of n pairs covers their median with probability 1 - 2^(1-n); 6 pairs reach 95 %).
  double confidence = 0;
};

/// Median of numerator[i] / denominator[i] with an interval: the wider of the percentile bootstrap
/// over pairs (10,000 resamples, seeded: the same input gives the same interval) and the exact
/// order-statistic interval of the median. The second guards the small samples, on which the
/// bootstrap alone is too sure of itself. Everything happens on logarithms, so that swapping the
/// subjects gives exactly the inverse. Spans of equal length, all values above 0.
/// Sources: B. Efron, R. Tibshirani, "An Introduction to the Bootstrap" (1993), ch. 13;
/// W. Conover, "Practical Nonparametric Statistics" (1999), section 3.2.
/// Another `confidence` than 0.95 is for several comparisons that are decided upon together.
PairedRatio paired_ratio(std::span<const double> numerator, std::span<const double> denominator,
                         std::uint64_t seed, double confidence = 0.95);

/// Rank k (1-based) such that [sorted[k-1], sorted[n-k]] covers the median with at least
/// `confidence`: the largest k with 2 * P(Binomial(n, 1/2) < k) <= 1 - confidence; 1 when no k
/// reaches it.
std::int64_t median_interval_rank(std::int64_t n, double confidence = 0.95);

/// P(Binomial(n, p) <= k), 0 <= p <= 1, summed from logarithms so that a large n doesn't underflow.
double binomial_cdf(std::int64_t n, std::int64_t k, double p);

/// A subject against itself: repetition 1 over 0, 2 over 3, 5 over 4, ... (the order alternates so
/// that a steady drift cancels). A sound bench has 1 inside the interval. `values` in the order of
/// the repetitions, all above 0; nothing for fewer than two.
std::optional<PairedRatio> self_ratio(std::span<const double> values, std::uint64_t seed);

/// Integral of a sampled signal over [begin_ns, end_ns] by trapezoids, interpolated at the edges.
/// Units: signal unit x seconds (watts -> joules). `samples` ascending in time. Where the window
/// begins before the first sample or ends after the last, that sample's value is held. Nothing when
/// the window has a stretch longer than `max_gap_ns` without a sample.
struct SamplePoint {
  std::int64_t t_ns = 0;
  double value = 0;
};
std::optional<double> integrate(std::span<const SamplePoint> samples, std::int64_t begin_ns,
                                std::int64_t end_ns, std::int64_t max_gap_ns);

}  // namespace iol::report
