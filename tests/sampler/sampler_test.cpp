#include "sampler/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>

#include "base/error.h"
#include "base/random.h"
#include "tests/sampler/chi_square.h"
#include "tests/sampler/reference.h"

namespace iol {
namespace {

using testing::chi_square;
using testing::chi_square_bound;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

Sequence make_sequence(const SamplingParams& sampling, int num_output_tokens = 0) {
  Sequence sequence;
  sequence.sampling = sampling;
  sequence.num_prompt_tokens = 1;
  sequence.tokens.assign(static_cast<std::size_t>(1 + num_output_tokens), 0);
  return sequence;
}

/// Gaussian-like logits; `levels` > 0 rounds them so that many are equal.
std::vector<float> random_logits(RandomStream& random, std::size_t size, double spread,
                                 int levels = 0) {
  std::vector<float> logits(size);
  for (float& logit : logits) {
    double value = 0;
    for (int i = 0; i < 6; ++i) value += random.uniform() - 0.5;
    if (levels > 0) value = std::round(value * levels) / levels;
    logit = static_cast<float>(value * spread);
  }
  return logits;
}

std::int32_t sample_token(Sampler& sampler, std::vector<float> logits, const Sequence& sequence) {
  SamplerState state;
  return sampler.sample(logits, sequence, state).token;
}

TEST(Sampler, greedy_takes_the_lowest_index_among_equals) {
  Sampler sampler({});
  RandomStream random(1);
  for (int i = 0; i < 500; ++i) {
    const auto logits = random_logits(random, 1 + random.below(700), 3, 2);
    const auto expected = std::max_element(logits.begin(), logits.end()) - logits.begin();
    ASSERT_EQ(sample_token(sampler, logits, make_sequence({})), expected);
  }
}

TEST(Sampler, draws_follow_the_reference_for_random_settings) {
  Sampler sampler({});
  int num_checked = 0;
  for (std::uint64_t seed = 0; seed < 4000; ++seed) {
    RandomStream random(seed);
    const auto size = 1 + random.below(seed % 10 == 0 ? 20000 : 400);
    const int levels = random.below(3) == 0 ? 4 : 0;
    const auto logits = random_logits(random, size, 1 + 20 * random.uniform(), levels);
    SamplingParams sampling;
    sampling.temperature = 0.05 + 2 * random.uniform();
    if (random.below(2) == 0) sampling.top_k = 1 + static_cast<int>(random.below(size + 5));
    if (random.below(2) == 0) sampling.top_p = 0.01 + 0.989 * random.uniform();
    if (random.below(2) == 0) sampling.min_p = 0.5 * random.uniform();
    double closest_call = 1;
    const auto expected = testing::reference_probabilities(logits, sampling, closest_call);
    if (closest_call < 1e-5) continue;
    ++num_checked;
    Sequence sequence = make_sequence(sampling, static_cast<int>(random.below(5)));
    for (int i = 0; i < 4; ++i) {
      sequence.seed = random();
      const double uniform = random_uniform(
          sequence.seed, kSamplingStream, static_cast<std::uint64_t>(sequence.num_output_tokens()));
      const std::int32_t token = sample_token(sampler, logits, sequence);
      ASSERT_TRUE(testing::is_inverse_cdf(expected, uniform, token, 1e-5))
          << "seed " << seed << " token " << token << " of " << size;
    }
  }
  EXPECT_GT(num_checked, 3000);
}

TEST(Sampler, sampled_distributions_pass_chi_square) {
  constexpr int kDraws = 100000;
  Sampler sampler({});
  RandomStream random(3);
  const auto logits = random_logits(random, 24, 4);
  const std::vector<SamplingParams> settings = {
      {.temperature = 1.0},
      {.temperature = 0.5},
      {.temperature = 1.7},
      {.temperature = 1.0, .top_k = 5},
      {.temperature = 1.0, .top_p = 0.8},
      {.temperature = 1.0, .min_p = 0.1},
      {.temperature = 1.3, .top_k = 12, .top_p = 0.9},
      {.temperature = 1.3, .top_k = 12, .top_p = 0.95, .min_p = 0.05},
      {.temperature = 2.0, .top_p = 0.97, .min_p = 0.02},
  };
  for (const SamplingParams& sampling : settings) {
    double closest_call = 1;
    const auto expected = testing::reference_probabilities(logits, sampling, closest_call);
    ASSERT_GT(closest_call, 1e-5);
    std::vector<int> counts(logits.size());
    std::vector<int> counts_over_positions(logits.size());
    Sequence by_seed = make_sequence(sampling, 3);
    Sequence by_position = make_sequence(sampling);
    for (int i = 0; i < kDraws; ++i) {
      by_seed.seed = static_cast<std::uint64_t>(i);
      ++counts[static_cast<std::size_t>(sample_token(sampler, logits, by_seed))];
      by_position.tokens.push_back(0);
      ++counts_over_positions[static_cast<std::size_t>(sample_token(sampler, logits, by_position))];
    }
    double freedom = -1;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      if (expected[i] > 0) {
        ++freedom;
      } else {
        ASSERT_EQ(counts[i] + counts_over_positions[i], 0);
      }
    }
    EXPECT_LT(chi_square(counts, expected, kDraws), chi_square_bound(freedom));
    EXPECT_LT(chi_square(counts_over_positions, expected, kDraws), chi_square_bound(freedom));
    // The test would see a wrong distribution.
    auto wrong = expected;
    std::swap(*std::max_element(wrong.begin(), wrong.end()),
              *std::find_if(wrong.begin(), wrong.end(), [](double p) { return p > 0; }));
    if (wrong != expected) {
      EXPECT_GT(chi_square(counts, wrong, kDraws), chi_square_bound(freedom));
    }
  }
}

TEST(Sampler, equal_seeds_give_equal_tokens_and_others_differ) {
  Sampler one({});
  Sampler two({});
  RandomStream random(4);
  int num_different = 0;
  for (int position = 0; position < 200; ++position) {
    const auto logits = random_logits(random, 1000, 2);
    Sequence a = make_sequence({.temperature = 1.0}, position);
    a.seed = 77;
    Sequence b = a;
    b.id = 5;
    b.arrival_index = 9;
    b.num_preemptions = 3;
    ASSERT_EQ(sample_token(one, logits, a), sample_token(two, logits, b));
    b.seed = 78;
    if (sample_token(one, logits, a) != sample_token(two, logits, b)) ++num_different;
  }
  EXPECT_GT(num_different, 150);
}

TEST(Sampler, penalties_are_the_same_step_by_step_and_from_scratch) {
  RandomStream random(5);
  Sampler sampler({});
  Sequence sequence = make_sequence({.temperature = 0.8,
                                     .repetition_penalty = 1.2,
                                     .presence_penalty = 0.4,
                                     .frequency_penalty = 0.7});
  sequence.tokens = {3, 1, 4, 1, 5};
  sequence.num_prompt_tokens = 5;
  SamplerState kept;
  for (int i = 0; i < 300; ++i) {
    auto logits = random_logits(random, 30, 3);
    auto same_logits = logits;
    SamplerState fresh;
    const auto token = sampler.sample(logits, sequence, kept).token;
    ASSERT_EQ(sampler.sample(same_logits, sequence, fresh).token, token);
    ASSERT_EQ(logits, same_logits);
    sequence.tokens.push_back(token);
  }
}

TEST(Sampler, min_tokens_forbids_what_would_end_the_sequence) {
  const std::vector<std::int32_t> eos{2};
  Sampler sampler(eos);
  const std::vector<float> logits{0, 1, 9, 8, 7};
  SamplingParams sampling{.min_tokens = 2, .stop_token_ids = {3}};
  EXPECT_EQ(sample_token(sampler, logits, make_sequence(sampling, 0)), 4);
  EXPECT_EQ(sample_token(sampler, logits, make_sequence(sampling, 1)), 4);
  EXPECT_EQ(sample_token(sampler, logits, make_sequence(sampling, 2)), 2);
  sampling.ignore_eos = true;
  EXPECT_EQ(sample_token(sampler, logits, make_sequence(sampling, 0)), 2);
}

TEST(Sampler, logprobs_are_those_of_the_raw_logits) {
  RandomStream random(6);
  Sampler sampler({});
  for (int i = 0; i < 300; ++i) {
    const auto raw = random_logits(random, 1 + random.below(3000), 12, i % 3 == 0 ? 3 : 0);
    SamplingParams sampling{.temperature = i % 2 == 0 ? 0.0 : 0.7, .num_logprobs = i % 21};
    if (i % 5 == 0) sampling.logit_bias = {{0, 50.0F}};
    if (i % 7 == 0) sampling.repetition_penalty = 1.5;
    auto logits = raw;
    SamplerState state;
    const SampledToken sampled = sampler.sample(logits, make_sequence(sampling), state);
    ASSERT_TRUE(sampled.logprobs.has_value());

    const double max = *std::max_element(raw.begin(), raw.end());
    double sum = 0;
    for (const float logit : raw) sum += std::exp(double{logit} - max);
    const auto logprob = [&](std::int32_t token) {
      return double{raw[static_cast<std::size_t>(token)]} - max - std::log(sum);
    };
    std::vector<std::int32_t> order(raw.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
      return raw[static_cast<std::size_t>(a)] > raw[static_cast<std::size_t>(b)];
    });
    order.resize(std::min(order.size(), static_cast<std::size_t>(i % 21)));
    ASSERT_EQ(sampled.logprobs->sampled.token, sampled.token);
    ASSERT_NEAR(sampled.logprobs->sampled.logprob, logprob(sampled.token), 4e-6);
    ASSERT_EQ(sampled.logprobs->top.size(), order.size());
    for (std::size_t k = 0; k < order.size(); ++k) {
      ASSERT_EQ(sampled.logprobs->top[k].token, order[k]);
      ASSERT_NEAR(sampled.logprobs->top[k].logprob, logprob(order[k]), 4e-6);
    }
  }
}

TEST(Sampler, never_draws_a_forbidden_token) {
  Sampler sampler({});
  std::vector<float> logits(600, -kInfinity);
  logits[599] = -3;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    Sequence sequence = make_sequence({.temperature = 1.0});
    sequence.seed = seed;
    ASSERT_EQ(sample_token(sampler, logits, sequence), 599);
    sequence.sampling.top_p = 0.9;
    ASSERT_EQ(sample_token(sampler, logits, sequence), 599);
    sequence.sampling.top_k = 7;
    ASSERT_EQ(sample_token(sampler, logits, sequence), 599);
  }
}

TEST(Sampler, broken_logits_are_an_error_and_not_a_token) {
  Sampler sampler({});
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const double temperature : {0.0, 1.0}) {
    const Sequence sequence =
        make_sequence({.temperature = temperature, .logit_bias = {{0, 1.0F}}});
    for (std::size_t position : {0U, 17U, 99U}) {
      std::vector<float> logits(100, 1.0F);
      logits[position] = nan;
      EXPECT_THROW(sample_token(sampler, logits, sequence), Error);
    }
    EXPECT_THROW(sample_token(sampler, std::vector<float>(100, -kInfinity), sequence), Error);
    std::vector<float> infinite(100, 0.0F);
    infinite[3] = kInfinity;
    EXPECT_THROW(sample_token(sampler, infinite, sequence), Error);
  }
}

bool needs_logits_after(const SamplingParams& sampling, int num_output_tokens) {
  return needs_logits(make_sequence(sampling, num_output_tokens));
}

TEST(Sampler, plain_greedy_alone_needs_no_logits) {
  EXPECT_FALSE(needs_logits_after({}, 0));
  EXPECT_FALSE(needs_logits_after({.top_k = 5, .top_p = 0.5, .min_p = 0.5}, 0));
  EXPECT_TRUE(needs_logits_after({.temperature = 0.5}, 0));
  EXPECT_TRUE(needs_logits_after({.repetition_penalty = 1.1}, 0));
  EXPECT_TRUE(needs_logits_after({.presence_penalty = 0.1}, 0));
  EXPECT_TRUE(needs_logits_after({.frequency_penalty = 0.1}, 0));
  EXPECT_TRUE(needs_logits_after({.logit_bias = {{1, 1.0F}}}, 0));
  EXPECT_TRUE(needs_logits_after({.num_logprobs = 0}, 0));
  EXPECT_TRUE(needs_logits_after({.min_tokens = 3}, 2));
  EXPECT_FALSE(needs_logits_after({.min_tokens = 3}, 3));
}

TEST(Sampler, a_device_may_choose_what_a_token_choice_says) {
  const auto choice =
      token_choice(make_sequence({.temperature = 0.5, .top_k = 7, .top_p = 0.9, .min_p = 0.1}));
  ASSERT_TRUE(choice);
  EXPECT_EQ(choice->temperature, 0.5);
  EXPECT_EQ(choice->top_k, 7);
  EXPECT_EQ(choice->top_p, 0.9);
  EXPECT_EQ(choice->min_p, 0.1);
  EXPECT_EQ(token_choice(make_sequence({.top_k = 7}))->temperature, 0.0);
  EXPECT_FALSE(token_choice(make_sequence({.temperature = 0.5, .presence_penalty = 0.1})));
  EXPECT_FALSE(token_choice(make_sequence({.num_logprobs = 2})));
}

}  // namespace
}  // namespace iol
