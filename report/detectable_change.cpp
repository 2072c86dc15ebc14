#include "report/detectable_change.h"

#include <cmath>
#include <numbers>
#include <vector>

#include "base/error.h"
#include "report/statistics.h"

namespace iol::report {
namespace {

constexpr std::int64_t kMostPairs = 1000;  // nobody repeats a bench more often
constexpr int kBisections = 60;

double normal_cdf(double z) { return 0.5 * std::erfc(-z / std::numbers::sqrt2); }

/// The probability p with P(Binomial(n, p) <= k) = target; the left side falls as p rises.
double binomial_probability(std::int64_t n, std::int64_t k, double target) {
  double low = 0;
  double high = 1;
  for (int step = 0; step < kBisections; ++step) {
    const double middle = 0.5 * (low + high);
    (binomial_cdf(n, k, middle) > target ? low : high) = middle;
  }
  return 0.5 * (low + high);
}

}  // namespace

std::optional<double> log_ratio_deviation(std::span<const double> numerator,
                                          std::span<const double> denominator) {
  IOL_CHECK(numerator.size() == denominator.size());
  if (numerator.size() < 2) return std::nullopt;
  std::vector<double> logs(numerator.size());
  for (std::size_t i = 0; i < logs.size(); ++i)
    logs[i] = std::log(numerator[i]) - std::log(denominator[i]);
  return describe(std::move(logs))->std;
}

std::optional<double> detectable_deviations(std::int64_t pairs, double confidence) {
  if (pairs < fewest_pairs(confidence)) return std::nullopt;
  const std::int64_t rank = median_interval_rank(pairs, confidence);
  const double on_the_other_side = binomial_probability(pairs, rank - 1, kDetectionPower);
  double low = 0;  // of the shift c with P(normal < -c) = on_the_other_side
  double high = 40;
  for (int step = 0; step < kBisections; ++step) {
    const double middle = 0.5 * (low + high);
    (normal_cdf(-middle) > on_the_other_side ? low : high) = middle;
  }
  return 0.5 * (low + high);
}

std::optional<double> smallest_visible_change(std::int64_t pairs, double deviation,
                                              double confidence) {
  const auto deviations = detectable_deviations(pairs, confidence);
  if (!deviations) return std::nullopt;
  return std::expm1(*deviations * deviation);
}

std::optional<std::int64_t> pairs_needed(double change, double deviation, double confidence) {
  IOL_CHECK(change > 0 && deviation >= 0);
  const auto sees = [&](std::int64_t pairs) {
    const auto visible = smallest_visible_change(pairs, deviation, confidence);
    return visible && *visible <= change;
  };
  // Doubling finds the range. Within it the rank's steps make the answer uneven by a pair or two,
  // so a bisection is exact enough and never below what is needed at its own answer.
  std::int64_t high = fewest_pairs(confidence);
  std::int64_t low = high - 1;
  while (!sees(high)) {
    low = high;
    high *= 2;
    if (high > kMostPairs) return std::nullopt;
  }
  while (high - low > 1) {
    const std::int64_t middle = low + (high - low) / 2;
    (sees(middle) ? high : low) = middle;
  }
  return high;
}

std::int64_t fewest_pairs(double confidence) {
  std::int64_t pairs = 2;
  while (1 - std::exp2(1 - static_cast<double>(pairs)) < confidence) ++pairs;
  return pairs;
}

}  // namespace iol::report
