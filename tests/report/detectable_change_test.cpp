#include "report/detectable_change.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>
#include <vector>

#include "base/random.h"
#include "report/statistics.h"

namespace iol::report {
namespace {

double normal(RandomStream& random) {
  const double radius = std::sqrt(-2 * std::log(1 - random.uniform()));
  return radius * std::cos(2 * std::numbers::pi * random.uniform());
}

TEST(BinomialCdf, agrees_with_published_tables) {
  // Cumulative binomial probabilities, as tables of statistics print them.
  EXPECT_NEAR(binomial_cdf(10, 2, 0.3), 0.3828, 5e-5);
  EXPECT_NEAR(binomial_cdf(20, 5, 0.5), 0.0207, 5e-5);
  EXPECT_NEAR(binomial_cdf(5, 0, 0.1), 0.5905, 5e-5);
  EXPECT_EQ(binomial_cdf(5, 5, 0.1), 1);
  EXPECT_EQ(binomial_cdf(5, 2, 0), 1);
  EXPECT_EQ(binomial_cdf(5, 2, 1), 0);
}

TEST(FewestPairs, is_where_the_range_of_all_pairs_covers_the_median) {
  EXPECT_EQ(fewest_pairs(0.95), 6);   // 1 - 2^-5 = 0.969
  EXPECT_EQ(fewest_pairs(0.975), 7);  // 1 - 2^-6 = 0.984
  EXPECT_EQ(fewest_pairs(0.995), 9);
}

TEST(DetectableDeviations, of_six_pairs_by_hand) {
  // All six must be beyond 0: P(one is) = 0.9^(1/6) = 0.98259, whose normal quantile is 2.1099.
  EXPECT_NEAR(*detectable_deviations(6, 0.95), 2.1099, 1e-3);
  EXPECT_FALSE(detectable_deviations(5, 0.95)) << "five pairs have no 95 % interval";
}

TEST(DetectableDeviations, is_what_simulated_pairs_do) {
  for (const std::int64_t pairs : {6, 9, 15, 30}) {
    const double shift = *detectable_deviations(pairs, 0.95);
    const auto rank = static_cast<std::size_t>(median_interval_rank(pairs));
    RandomStream random(7, static_cast<std::uint64_t>(pairs));
    int seen = 0;
    constexpr int kTrials = 4000;
    for (int trial = 0; trial < kTrials; ++trial) {
      std::vector<double> values(static_cast<std::size_t>(pairs));
      for (double& value : values) value = shift + normal(random);
      std::sort(values.begin(), values.end());
      seen += values[rank - 1] > 0 ? 1 : 0;
    }
    EXPECT_NEAR(static_cast<double>(seen) / kTrials, 0.90, 0.02) << pairs;
  }
}

TEST(PairsNeeded, is_the_first_number_that_sees_the_change) {
  for (const double deviation : {0.001, 0.01, 0.03, 0.1}) {
    const auto needed = pairs_needed(0.03, deviation, 0.95);
    ASSERT_TRUE(needed) << deviation;
    EXPECT_LE(*smallest_visible_change(*needed, deviation, 0.95), 0.03) << deviation;
    if (*needed > 6) {
      EXPECT_GT(*smallest_visible_change(*needed - 1, deviation, 0.95), 0.03) << deviation;
    }
  }
  EXPECT_EQ(pairs_needed(0.03, 0, 0.95), 6);
  EXPECT_FALSE(pairs_needed(0.0001, 5, 0.95)) << "no number of repetitions that anyone would run";
}

TEST(LogRatioDeviation, by_hand) {
  const std::vector<double> numerator = {1, std::exp(1.0)};
  const std::vector<double> denominator = {1, 1};
  EXPECT_NEAR(*log_ratio_deviation(numerator, denominator), std::sqrt(0.5), 1e-12);
  EXPECT_FALSE(log_ratio_deviation(std::vector<double>{1}, std::vector<double>{1}));
}

}  // namespace
}  // namespace iol::report
