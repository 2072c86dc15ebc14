#pragma once
// How small a change a paired comparison can see, and how many pairs a given change takes.
#include <cstdint>
#include <optional>
#include <span>

namespace iol::report {

/// The chance with which a change of the stated size is seen.
inline constexpr double kDetectionPower = 0.90;

/// Standard deviation (n - 1) of the logarithms of numerator[i] / denominator[i]; nothing for fewer
/// than two pairs.
std::optional<double> log_ratio_deviation(std::span<const double> numerator,
                                          std::span<const double> denominator);

/// The smallest change, in units of log_ratio_deviation, that the interval of the median of `pairs`
/// log-ratios excludes 0 for with probability kDetectionPower, when they are normally distributed:
/// the interval's end is the k-th value of n, k = median_interval_rank(n, confidence), and beyond 0
/// when fewer than k of n are on the other side. Nothing when `pairs` are too few for the
/// confidence at all.
std::optional<double> detectable_deviations(std::int64_t pairs, double confidence);

/// exp(detectable_deviations * deviation) - 1: as a fraction.
std::optional<double> smallest_visible_change(std::int64_t pairs, double deviation,
                                              double confidence);

/// The fewest pairs for which smallest_visible_change is at most `change`; nothing beyond 1,000.
std::optional<std::int64_t> pairs_needed(double change, double deviation, double confidence);

/// The fewest pairs whose interval reaches `confidence` at all.
std::int64_t fewest_pairs(double confidence);

}  // namespace iol::report
