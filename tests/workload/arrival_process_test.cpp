#include "workload/arrival_process.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace iol {
namespace {

constexpr std::int64_t kMany = 200'000;

std::vector<double> gaps_s(const std::vector<std::int64_t>& times_ns) {
  std::vector<double> gaps;
  for (std::size_t i = 1; i < times_ns.size(); ++i) {
    gaps.push_back(static_cast<double>(times_ns[i] - times_ns[i - 1]) * 1e-9);
  }
  return gaps;
}

struct Moments {
  double mean = 0;
  double variation = 0;  // standard deviation / mean
};

Moments moments(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  const double mean = sum / static_cast<double>(values.size());
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  return {mean, std::sqrt(squares / static_cast<double>(values.size())) / mean};
}

std::vector<std::int64_t> times(const char* text, double rate, std::int64_t count,
                                std::uint64_t seed = 7) {
  return ArrivalProcess::parse(text, "--arrival").due_times_ns(rate, count, seed);
}

TEST(ArrivalProcess, constant_arrivals_are_evenly_spaced) {
  EXPECT_EQ(times("constant", 4, 3), (std::vector<std::int64_t>{0, 250'000'000, 500'000'000}));
}

TEST(ArrivalProcess, poisson_gaps_are_exponential) {
  const auto gaps = gaps_s(times("poisson", 50, kMany));
  const auto [mean, variation] = moments(gaps);
  // Standard errors: mean 1 / sqrt(n), variation about 1 / sqrt(n), n = 200,000: five of them.
  EXPECT_NEAR(mean * 50, 1, 0.012);
  EXPECT_NEAR(variation, 1, 0.012);
  // P(gap > t) = exp(-rate t), at a few t; five standard errors of a share are 0.0056.
  for (const double t : {0.5, 1.0, 2.0, 4.0}) {
    const auto longer =
        std::count_if(gaps.begin(), gaps.end(), [&](double gap) { return gap * 50 > t; });
    EXPECT_NEAR(static_cast<double>(longer) / static_cast<double>(gaps.size()), std::exp(-t),
                0.0056);
  }
}

TEST(ArrivalProcess, gamma_gaps_have_the_variation_of_their_shape) {
  for (const double shape : {0.25, 1.0, 4.0}) {
    const auto [mean, variation] =
        moments(gaps_s(times(fmt::format("gamma:{}", shape).c_str(), 20, kMany)));
    EXPECT_NEAR(mean * 20, 1, 0.025) << shape;
    EXPECT_NEAR(variation, 1 / std::sqrt(shape), 0.03 / std::sqrt(shape)) << shape;
  }
}

TEST(ArrivalProcess, a_ramp_goes_from_one_rate_to_the_other) {
  // 10 to 30 requests/s over 1,000 requests takes 50 s; after t seconds 10 t + 0.2 t^2 have come.
  const auto ramp = times("ramp:10", 30, 1000);
  EXPECT_EQ(ramp.front(), 0);
  EXPECT_TRUE(std::is_sorted(ramp.begin(), ramp.end()));
  for (const std::size_t i : {100U, 500U, 999U}) {
    const double t = static_cast<double>(ramp[i]) * 1e-9;
    EXPECT_NEAR(10 * t + 0.2 * t * t, static_cast<double>(i), 1e-4);
  }
  const auto gaps = gaps_s(ramp);
  EXPECT_NEAR(1 / gaps.front(), 10, 0.1);
  EXPECT_NEAR(1 / gaps.back(), 30, 0.1);
  EXPECT_EQ(times("ramp:5", 5, 3), times("constant", 5, 3));
}

TEST(ArrivalProcess, is_a_function_of_its_seed) {
  for (const char* text : {"poisson", "gamma:0.5"}) {
    EXPECT_EQ(times(text, 3, 100, 1), times(text, 3, 100, 1));
    EXPECT_NE(times(text, 3, 100, 1), times(text, 3, 100, 2));
    const auto all = times(text, 3, 1000);
    EXPECT_TRUE(std::is_sorted(all.begin(), all.end()));
  }
}

TEST(ArrivalProcess, refuses_everything_else) {
  for (const char* text :
       {"", "uniform", "constant:1", "poisson:2", "gamma", "gamma:", "gamma:0", "gamma:-1",
        "gamma:nan", "gamma:1x", "gamma:1e9", "ramp", "ramp:0", "ramp:inf"}) {
    EXPECT_THROW(ArrivalProcess::parse(text, "--arrival"), InputError) << text;
  }
}

}  // namespace
}  // namespace iol
