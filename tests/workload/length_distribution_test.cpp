#include "workload/length_distribution.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.h"

namespace iol {
namespace {

std::vector<double> draw(std::string_view text, int count, std::uint64_t seed = 1) {
  const auto distribution = LengthDistribution::parse(text, "--input-tokens");
  RandomStream random(seed);
  std::vector<double> samples;
  for (int i = 0; i < count; ++i)
    samples.push_back(static_cast<double>(distribution.sample(random)));
  return samples;
}

double mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

double deviation(const std::vector<double>& values) {
  const double center = mean(values);
  double sum = 0;
  for (const double value : values) sum += (value - center) * (value - center);
  return std::sqrt(sum / static_cast<double>(values.size() - 1));
}

TEST(LengthDistribution, a_number_is_always_itself) {
  for (const double sample : draw("100", 50)) EXPECT_EQ(sample, 100);
}

TEST(LengthDistribution, uniform_reaches_both_ends_and_nothing_beyond) {
  const auto samples = draw("uniform:5:8", 4000);
  EXPECT_EQ(*std::min_element(samples.begin(), samples.end()), 5);
  EXPECT_EQ(*std::max_element(samples.begin(), samples.end()), 8);
  for (int value = 5; value <= 8; ++value) {
    // Binomial(4000, 1/4): 5 standard deviations are 137.
    EXPECT_NEAR(std::count(samples.begin(), samples.end(), value), 1000, 137);
  }
}

TEST(LengthDistribution, normal_has_its_mean_and_deviation) {
  const int n = 20000;
  const auto samples = draw("normal:100:20", n);
  EXPECT_NEAR(mean(samples), 100, 5 * 20 / std::sqrt(n));
  // Rounding to whole tokens adds a variance of 1/12.
  EXPECT_NEAR(deviation(samples), std::sqrt(400 + 1.0 / 12), 5 * 20 / std::sqrt(2 * n));
}

TEST(LengthDistribution, lognormal_has_the_median_of_its_parameters) {
  auto samples = draw("lognormal:4.6:0.5", 20001);
  std::nth_element(samples.begin(), samples.begin() + 10000, samples.end());
  // Standard error of a median: sqrt(pi / 2) * deviation / sqrt(n), on the logarithm.
  EXPECT_NEAR(std::log(samples[10000]), 4.6, 5 * 1.2533 * 0.5 / std::sqrt(20001.0) + 0.005);
}

TEST(LengthDistribution, never_gives_less_than_one_token) {
  for (const char* text : {"normal:0:50", "lognormal:-5:1", "normal:-1e9:1"}) {
    const auto samples = draw(text, 1000);
    EXPECT_EQ(*std::min_element(samples.begin(), samples.end()), 1) << text;
  }
}

TEST(LengthDistribution, extreme_parameters_stay_finite) {
  for (const double sample : draw("lognormal:700:300", 200)) EXPECT_LE(sample, 1 << 30);
}

TEST(LengthDistribution, is_a_function_of_the_seed) {
  EXPECT_EQ(draw("normal:100:20", 100, 7), draw("normal:100:20", 100, 7));
  EXPECT_NE(draw("normal:100:20", 100, 7), draw("normal:100:20", 100, 8));
}

TEST(LengthDistribution, refuses_what_it_does_not_understand_and_names_the_option) {
  for (const char* text : {"",
                           "0",
                           "-5",
                           "1.5",
                           "100 ",
                           "abc",
                           "uniform",
                           "uniform:5",
                           "uniform:8:5",
                           "uniform:0:5",
                           "uniform:1:2:3",
                           "normal:100:-1",
                           "normal:nan:1",
                           "normal:inf:1",
                           "normal:100",
                           "poisson:3",
                           "lognormal:1:x",
                           "99999999999999999999",
                           "uniform::5",
                           ":",
                           "5:"}) {
    try {
      LengthDistribution::parse(text, "--output-tokens");
      ADD_FAILURE() << "accepted '" << text << "'";
    } catch (const InputError& error) {
      const std::string message = error.what();
      EXPECT_NE(message.find("--output-tokens"), std::string::npos) << message;
      EXPECT_EQ(message.find('\n'), std::string::npos);
    }
  }
}

}  // namespace
}  // namespace iol
