#include "sampler/softmax.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/random.h"
#include "sampler/truncation.h"

namespace iol {
namespace {

TEST(Softmax, exp_is_within_two_units_in_the_last_place) {
  double worst = 0;
  for (double x = 0; x > -86.99; x -= 1.3e-5) {
    const auto argument = static_cast<float>(x);
    const double expected = std::exp(double{argument});
    const double ulp = std::exp2(std::floor(std::log2(expected)) - 23);
    worst = std::max(worst, std::abs(double{exp_nonpositive(argument)} - expected) / ulp);
  }
  EXPECT_LT(worst, 2.0);
}

TEST(Softmax, exp_ends_are_exact) {
  EXPECT_EQ(exp_nonpositive(0.0F), 1.0F);
  EXPECT_EQ(exp_nonpositive(-0.0F), 1.0F);
  EXPECT_EQ(exp_nonpositive(-87.5F), 0.0F);
  EXPECT_EQ(exp_nonpositive(-std::numeric_limits<float>::infinity()), 0.0F);
}

TEST(Softmax, total_and_draws_agree_with_sums_in_double) {
  for (const std::size_t size : {1U, 15U, 16U, 511U, 512U, 513U, 5000U}) {
    RandomStream random(size);
    std::vector<float> logits(size);
    for (float& logit : logits) logit = static_cast<float>(5 * random.uniform());
    SoftmaxWeights softmax;
    softmax.compute(logits, max_logit(logits), 0.7F);
    double total = 0;
    for (const float weight : softmax.weights()) total += double{weight};
    EXPECT_NEAR(softmax.total(), total, 1e-12 * total);
    for (int i = 0; i < 200; ++i) {
      const double uniform = i == 0 ? 0.0 : i == 1 ? 1 - 0x1p-53 : random.uniform();
      const auto token = static_cast<std::size_t>(softmax.draw(uniform));
      ASSERT_LT(token, size);
      double below = 0;
      for (std::size_t k = 0; k < token; ++k) below += double{softmax.weights()[k]};
      ASSERT_LE(below, uniform * total * (1 + 1e-12));
      ASSERT_GE(below + double{softmax.weights()[token]}, uniform * total * (1 - 1e-12));
    }
  }
}

TEST(Truncation, kth_largest_agrees_with_a_sort) {
  Truncation truncation;
  RandomStream random(8);
  for (int i = 0; i < 2000; ++i) {
    std::vector<float> values(1 + random.below(i % 50 == 0 ? 20000 : 300));
    const bool ascending = random.below(10) == 0;
    for (std::size_t k = 0; k < values.size(); ++k) {
      values[k] = ascending ? static_cast<float>(k)
                            : static_cast<float>(random.below(i % 2 == 0 ? 10 : 1000000));
      if (random.below(20) == 0) values[k] = -std::numeric_limits<float>::infinity();
    }
    const auto k = 1 + static_cast<int>(random.below(values.size()));
    auto sorted = values;
    std::sort(sorted.begin(), sorted.end(), std::greater<>());
    ASSERT_EQ(truncation.kth_largest(values, k), sorted[static_cast<std::size_t>(k) - 1]);
  }
}

TEST(Truncation, keep_heaviest_takes_the_first_among_equals) {
  Truncation truncation;
  std::vector<Candidate> candidates{{1, 0.25F}, {4, 0.5F}, {6, 0.25F}, {9, 0.25F}, {10, 0.125F}};
  truncation.keep_heaviest(candidates, 0.9);
  std::vector<std::int32_t> tokens;
  for (const Candidate& candidate : candidates) tokens.push_back(candidate.token);
  EXPECT_EQ(tokens, (std::vector<std::int32_t>{1, 4, 6}));
  truncation.keep_heaviest(candidates, 1.0);
  EXPECT_EQ(candidates.size(), 3U);
  truncation.keep_heaviest(candidates, 7.0);
  EXPECT_EQ(candidates.size(), 3U);
  truncation.keep_heaviest(candidates, 1e-9);
  ASSERT_EQ(candidates.size(), 1U);
  EXPECT_EQ(candidates[0].token, 4);
}

}  // namespace
}  // namespace iol
