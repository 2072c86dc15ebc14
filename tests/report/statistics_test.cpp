#include "report/statistics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/random.h"

namespace iol::report {
namespace {

using ::testing::ElementsAre;

/// The definition, read literally: the smallest value with at least `percent` % at or below it.
double naive_percentile(const std::vector<double>& values, double percent) {
  double best = *std::max_element(values.begin(), values.end());
  for (const double candidate : values) {
    const auto at_or_below = std::count_if(values.begin(), values.end(),
                                           [&](double value) { return value <= candidate; });
    const bool enough =
        static_cast<double>(at_or_below) * 100.0 >= percent * static_cast<double>(values.size());
    if (enough && candidate < best) best = candidate;
  }
  return best;
}

std::vector<double> log_normal_sample(std::size_t n, double sigma, std::uint64_t seed) {
  RandomStream random(seed);
  std::vector<double> values(n);
  for (double& value : values) {
    const double radius = std::sqrt(-2 * std::log(1 - random.uniform()));
    value = std::exp(sigma * radius * std::cos(2 * M_PI * random.uniform()));
  }
  return values;
}

TEST(NearestRank, equals_its_definition_on_random_samples_of_every_size) {
  for (std::size_t n = 1; n <= 120; ++n) {
    auto values = log_normal_sample(n, 1.0, n);
    if (n % 3 == 0) {
      for (double& value : values) value = std::round(value);  // ties
    }
    auto sorted = values;
    std::sort(sorted.begin(), sorted.end());
    for (const double percent : {1.0, 50.0, 90.0, 95.0, 99.0, 100.0}) {
      EXPECT_EQ(nearest_rank(sorted, percent), naive_percentile(values, percent))
          << "n " << n << ", percent " << percent;
    }
  }
}

// The worked example of https://en.wikipedia.org/wiki/Percentile#The_nearest-rank_method
TEST(NearestRank, gives_the_published_example) {
  const std::vector<double> sorted = {15, 20, 35, 40, 50};
  EXPECT_EQ(nearest_rank(sorted, 5), 15);
  EXPECT_EQ(nearest_rank(sorted, 30), 20);
  EXPECT_EQ(nearest_rank(sorted, 40), 20);
  EXPECT_EQ(nearest_rank(sorted, 50), 35);
  EXPECT_EQ(nearest_rank(sorted, 100), 50);
}

TEST(NearestRank, does_not_round_up_past_an_exact_rank) {
  std::vector<double> sorted(20);
  for (std::size_t i = 0; i < sorted.size(); ++i) sorted[i] = static_cast<double>(i + 1);
  EXPECT_EQ(nearest_rank(sorted, 95), 19);
  EXPECT_EQ(nearest_rank(sorted, 90), 18);
}

// NIST Statistical Reference Datasets, univariate: NumAcc1 and NumAcc4 (certified values).
TEST(Describe, agrees_with_nist_certified_mean_and_standard_deviation) {
  const auto first = describe({10000001, 10000003, 10000002});
  EXPECT_DOUBLE_EQ(first->mean, 10000002.0);
  EXPECT_DOUBLE_EQ(first->std, 1.0);
  std::vector<double> values = {10000000.2};
  for (int i = 0; i < 500; ++i) {
    values.push_back(10000000.1);
    values.push_back(10000000.3);
  }
  const auto fourth = describe(values);
  EXPECT_NEAR(fourth->mean, 10000000.2, 1e-8);
  EXPECT_NEAR(fourth->std, 0.1, 1e-8);
}

TEST(Describe, is_absent_for_no_values_and_has_no_spread_for_one) {
  EXPECT_FALSE(describe({}).has_value());
  const auto one = describe({4.5});
  EXPECT_EQ(one->count, 1);
  EXPECT_EQ(one->std, 0);
  EXPECT_EQ(one->p50, 4.5);
  EXPECT_EQ(one->p99, 4.5);
}

TEST(Describe, orders_its_percentiles_and_ignores_the_order_of_values) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    auto values = log_normal_sample(1 + seed * 3, 2.0, seed);
    const auto description = *describe(values);
    std::reverse(values.begin(), values.end());
    EXPECT_EQ(describe(values)->p90, description.p90);
    EXPECT_LE(description.min, description.p50);
    EXPECT_LE(description.p50, description.p90);
    EXPECT_LE(description.p90, description.p95);
    EXPECT_LE(description.p95, description.p99);
    EXPECT_LE(description.p99, description.max);
    EXPECT_GE(description.mean, description.min);
    EXPECT_LE(description.mean, description.max);
  }
}

TEST(Median, is_the_middle_value_or_the_mean_of_the_two_middle_ones) {
  EXPECT_EQ(median({3, 1, 2}), 2);
  EXPECT_EQ(median({4, 1, 2, 3}), 2.5);
}

// Conover, Practical Nonparametric Statistics, table A3 (binomial): ranks of the 95 % interval.
TEST(MedianIntervalRank, agrees_with_published_tables) {
  const std::vector<std::pair<int, int>> table = {{5, 1},   {6, 1},   {8, 1},   {9, 2},  {12, 3},
                                                  {15, 4},  {17, 5},  {20, 6},  {25, 8}, {30, 10},
                                                  {40, 14}, {50, 18}, {100, 40}};
  for (const auto& [n, rank] : table) EXPECT_EQ(median_interval_rank(n), rank) << "n " << n;
}

TEST(PairedRatio, finds_a_constant_factor_exactly) {
  const std::vector<double> base = {10, 12, 9, 11, 10.5, 13};
  std::vector<double> half;
  for (const double value : base) half.push_back(value / 2);
  const auto result = paired_ratio(base, half, 1);
  EXPECT_DOUBLE_EQ(result.ratio, 2.0);
  EXPECT_DOUBLE_EQ(result.interval->low, 2.0);
  EXPECT_DOUBLE_EQ(result.interval->high, 2.0);
  EXPECT_EQ(result.pairs, 6);
  EXPECT_DOUBLE_EQ(result.confidence, 0.95);
}

TEST(PairedRatio, cancels_a_drift_that_both_subjects_share) {
  std::vector<double> a;
  std::vector<double> b;
  for (int i = 0; i < 8; ++i) {
    const double machine = i < 4 ? 1.0 : 1.8;  // the hypervisor moved the cores half-way
    a.push_back(3.0 * machine);
    b.push_back(2.0 * machine);
  }
  EXPECT_DOUBLE_EQ(paired_ratio(a, b, 0).ratio, 1.5);
}

TEST(PairedRatio, swapping_the_subjects_gives_the_inverse) {
  for (std::size_t n = 2; n < 30; ++n) {
    const auto a = log_normal_sample(n, 0.3, n);
    const auto b = log_normal_sample(n, 0.3, 1000 + n);
    const auto forward = paired_ratio(a, b, 7);
    const auto backward = paired_ratio(b, a, 7);
    EXPECT_NEAR(forward.ratio * backward.ratio, 1.0, 1e-12);
    EXPECT_NEAR(forward.interval->low * backward.interval->high, 1.0, 1e-12);
    EXPECT_NEAR(forward.interval->high * backward.interval->low, 1.0, 1e-12);
    EXPECT_LE(forward.interval->low, forward.ratio);
    EXPECT_GE(forward.interval->high, forward.ratio);
  }
}

TEST(PairedRatio, is_reproducible_and_independent_of_the_order_of_pairs) {
  auto a = log_normal_sample(11, 0.2, 3);
  auto b = log_normal_sample(11, 0.2, 4);
  const auto first = paired_ratio(a, b, 42);
  std::reverse(a.begin(), a.end());
  std::reverse(b.begin(), b.end());
  const auto second = paired_ratio(a, b, 42);
  EXPECT_EQ(first.interval, second.interval);
  EXPECT_EQ(first.ratio, second.ratio);
}

TEST(PairedRatio, says_what_few_pairs_can_promise) {
  const std::vector<double> one = {2.0};
  EXPECT_FALSE(paired_ratio(one, one, 0).interval.has_value());
  const auto values = log_normal_sample(5, 0.1, 1);
  const std::vector<double> ones(5, 1.0);
  const auto five = paired_ratio(values, ones, 0);
  EXPECT_DOUBLE_EQ(five.confidence, 0.9375);  // 1 - 2^-4
  EXPECT_NEAR(five.interval->low, *std::min_element(values.begin(), values.end()), 1e-12);
  EXPECT_NEAR(five.interval->high, *std::max_element(values.begin(), values.end()), 1e-12);
}

TEST(PairedRatio, equal_subjects_are_not_told_apart_95_times_in_100) {
  for (const std::size_t pairs : {6u, 20u}) {
    int contains = 0;
    constexpr int kTrials = 1000;
    for (std::uint64_t trial = 0; trial < kTrials; ++trial) {
      const auto a = log_normal_sample(pairs, 0.1, 2 * trial + 100'000 * pairs);
      const auto b = log_normal_sample(pairs, 0.1, 2 * trial + 1 + 100'000 * pairs);
      if (paired_ratio(a, b, trial).interval->contains(1.0)) ++contains;
    }
    EXPECT_GE(contains, kTrials * 95 / 100) << pairs << " pairs";
  }
}

TEST(PairedRatio, a_real_difference_is_found) {
  int excluded = 0;
  for (std::uint64_t trial = 0; trial < 100; ++trial) {
    auto a = log_normal_sample(10, 0.02, 2 * trial);
    const auto b = log_normal_sample(10, 0.02, 2 * trial + 1);
    for (double& value : a) value *= 1.1;
    if (!paired_ratio(a, b, trial).interval->contains(1.0)) ++excluded;
  }
  EXPECT_GE(excluded, 98);
}

TEST(SelfRatio, alternates_the_order_so_that_a_steady_drift_cancels) {
  std::vector<double> drifting;
  for (int i = 0; i < 8; ++i) drifting.push_back(std::pow(1.1, i));
  EXPECT_NEAR(self_ratio(drifting, 0)->ratio, 1.0, 1e-12);
  EXPECT_EQ(self_ratio(drifting, 0)->pairs, 4);
  EXPECT_FALSE(self_ratio(std::vector<double>{1.0}, 0).has_value());
}

TEST(Integrate, is_exact_for_a_linear_signal_and_interpolates_at_the_edges) {
  // power = 10 W + 2 W/s * t, sampled unevenly; the energy over [0.5 s, 2.5 s] is 20 + 6 = 26 J.
  std::vector<SamplePoint> samples;
  for (const double t : {0.0, 0.3, 1.1, 2.0, 3.0}) {
    samples.push_back({static_cast<std::int64_t>(t * 1e9), 10 + 2 * t});
  }
  EXPECT_NEAR(*integrate(samples, 500'000'000, 2'500'000'000, 3'000'000'000), 26.0, 1e-9);
}

TEST(Integrate, refuses_a_window_with_a_gap) {
  const std::vector<SamplePoint> samples = {{0, 5}, {1'000, 5}, {5'000, 5}, {6'000, 5}};
  EXPECT_FALSE(integrate(samples, 0, 6'000, 3'000).has_value());
  EXPECT_TRUE(integrate(samples, 0, 1'000, 3'000).has_value());
  EXPECT_TRUE(integrate(samples, 5'000, 6'000, 3'000).has_value());
  EXPECT_FALSE(integrate(samples, 5'500, 9'500, 3'000).has_value());
  EXPECT_FALSE(integrate({}, 0, 1, 3'000).has_value());
}

TEST(Integrate, holds_the_outermost_samples_at_the_edges_of_the_window) {
  const std::vector<SamplePoint> samples = {{1'000'000'000, 4}, {2'000'000'000, 6}};
  // 1 s at 4 W, then 5 J between the samples, then half a second at 6 W.
  EXPECT_NEAR(*integrate(samples, 0, 2'500'000'000, 3'000'000'000), 4 + 5 + 3, 1e-12);
}

}  // namespace
}  // namespace iol::report
