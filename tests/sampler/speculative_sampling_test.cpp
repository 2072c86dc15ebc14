// Rejection sampling leaves the distribution as it is, whatever the draft's.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "base/random.h"
#include "sampler/sampler.h"
#include "tests/sampler/chi_square.h"
#include "tests/sampler/reference.h"

namespace iol {
namespace {

constexpr int kDraws = 60000;
constexpr std::size_t kVocabSize = 12;

std::vector<float> random_logits(RandomStream& random, double spread) {
  std::vector<float> logits(kVocabSize);
  for (float& logit : logits) logit = static_cast<float>(spread * (random.uniform() - 0.5));
  return logits;
}

Sequence make_sequence(const SamplingParams& sampling, std::uint64_t seed) {
  Sequence sequence;
  sequence.sampling = sampling;
  sequence.num_prompt_tokens = 1;
  sequence.tokens = {0, 1, 2, 3};
  sequence.seed = seed;
  return sequence;
}

std::vector<double> probabilities(const std::vector<float>& logits,
                                  const SamplingParams& sampling) {
  double closest_call = 1;
  auto result = testing::reference_probabilities(logits, sampling, closest_call);
  EXPECT_GT(closest_call, 1e-5);
  return result;
}

double degrees_of_freedom(const std::vector<double>& expected) {
  return static_cast<double>(std::ranges::count_if(expected, [](double p) { return p > 0; })) - 1;
}

/// Counts of what comes out when drafts are drawn from `draft_logits` under `draft_sampling`.
struct Trial {
  std::vector<int> counts = std::vector<int>(kVocabSize);
  int num_accepted = 0;
};

Trial run(const std::vector<float>& target_logits, const SamplingParams& sampling,
          const std::vector<float>& draft_logits, const SamplingParams& draft_sampling,
          std::uint64_t first_seed) {
  Sampler sampler({});
  Trial trial;
  TokenDistribution draft;
  for (int i = 0; i < kDraws; ++i) {
    const std::uint64_t seed = first_seed + static_cast<std::uint64_t>(i);
    SamplerState state;
    std::vector<float> logits = draft_logits;
    sampler.distribution(logits, make_sequence(draft_sampling, seed), state, draft);
    const std::int32_t token = draft.draw(random_uniform(seed, kDraftStream, 3));
    logits = target_logits;
    const auto sampled =
        sampler.sample_with_draft(logits, make_sequence(sampling, seed), state, token, draft);
    ++trial.counts[static_cast<std::size_t>(sampled.token)];
    if (sampled.token == token) ++trial.num_accepted;
  }
  return trial;
}

const std::vector<SamplingParams>& settings() {
  static const std::vector<SamplingParams> all = {
      {.temperature = 1.0},
      {.temperature = 0.6},
      {.temperature = 1.0, .top_k = 4},
      {.temperature = 1.2, .top_p = 0.7},
      {.temperature = 1.0, .min_p = 0.2},
      {.temperature = 1.3, .top_k = 9, .top_p = 0.9, .min_p = 0.05},
  };
  return all;
}

TEST(SpeculativeSampling, tokens_are_distributed_as_without_drafts) {
  RandomStream random(5);
  std::uint64_t seed = 0;
  for (const SamplingParams& sampling : settings()) {
    for (const double draft_spread : {0.5, 6.0}) {
      const auto target = random_logits(random, 5);
      const auto draft = random_logits(random, draft_spread);
      const auto expected = probabilities(target, sampling);
      // A draft that follows the request's settings, and one that doesn't.
      for (const SamplingParams& draft_sampling : {sampling, SamplingParams{.temperature = 2}}) {
        const Trial trial = run(target, sampling, draft, draft_sampling, seed);
        seed += kDraws;
        EXPECT_LT(testing::chi_square(trial.counts, expected, kDraws),
                  testing::chi_square_bound(degrees_of_freedom(expected)));
        for (std::size_t i = 0; i < kVocabSize; ++i) {
          if (expected[i] == 0) {
            EXPECT_EQ(trial.counts[i], 0);
          }
        }
        // As many are accepted as the two distributions have in common.
        const auto guessed = probabilities(draft, draft_sampling);
        double common = 0;
        for (std::size_t i = 0; i < kVocabSize; ++i) common += std::min(expected[i], guessed[i]);
        EXPECT_NEAR(trial.num_accepted / double{kDraws}, common,
                    5 * std::sqrt(0.25 / double{kDraws}));
      }
    }
  }
}

TEST(SpeculativeSampling, the_test_would_see_drafts_accepted_unjudged) {
  RandomStream random(6);
  const auto target = random_logits(random, 5);
  const auto draft = random_logits(random, 5);
  const SamplingParams sampling = {.temperature = 1.0};
  // What comes out if every draft is taken: the draft's own distribution.
  const Trial trial = run(draft, sampling, draft, sampling, 0);
  EXPECT_EQ(trial.num_accepted, kDraws);
  EXPECT_LT(testing::chi_square(trial.counts, probabilities(draft, sampling), kDraws),
            testing::chi_square_bound(kVocabSize - 1));
  EXPECT_GT(testing::chi_square(trial.counts, probabilities(target, sampling), kDraws),
            testing::chi_square_bound(kVocabSize - 1));
}

TEST(SpeculativeSampling, a_distribution_is_what_sample_draws_from) {
  Sampler sampler({});
  RandomStream random(7);
  for (const SamplingParams& sampling : settings()) {
    const auto target = random_logits(random, 5);
    const auto expected = probabilities(target, sampling);
    TokenDistribution distribution;
    SamplerState state;
    auto logits = target;
    sampler.distribution(logits, make_sequence(sampling, 1), state, distribution);
    for (std::size_t i = 0; i < kVocabSize; ++i) {
      EXPECT_NEAR(distribution.probability(static_cast<std::int32_t>(i)), expected[i], 1e-6);
    }
    for (std::uint64_t seed = 0; seed < 200; ++seed) {
      logits = target;
      EXPECT_EQ(distribution.draw(random_uniform(seed, kSamplingStream, 3)),
                sampler.sample(logits, make_sequence(sampling, seed), state).token);
    }
  }
}

TEST(SpeculativeSampling, log_probabilities_are_those_of_the_raw_logits) {
  Sampler sampler({});
  RandomStream random(8);
  const auto target = random_logits(random, 5);
  SamplingParams sampling = {.temperature = 0.7, .top_k = 3};
  sampling.logit_bias = {{2, 3.0F}};
  sampling.num_logprobs = 2;
  TokenDistribution draft;
  draft.candidates = {{0, 1.0F}, {5, 1.0F}};
  draft.total = 2;
  double sum = 0;
  for (const float logit : target) sum += std::exp(double{logit});
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    auto logits = target;
    SamplerState state;
    const auto sampled =
        sampler.sample_with_draft(logits, make_sequence(sampling, seed), state, 5, draft);
    ASSERT_TRUE(sampled.logprobs.has_value());
    EXPECT_EQ(sampled.logprobs->sampled.token, sampled.token);
    EXPECT_NEAR(sampled.logprobs->sampled.logprob,
                double{target[static_cast<std::size_t>(sampled.token)]} - std::log(sum), 1e-5);
    EXPECT_EQ(sampled.logprobs->top.size(), 2U);
  }
}

TEST(SpeculativeSampling, nothing_is_left_over_where_the_draft_is_the_target) {
  TokenDistribution same;
  same.candidates = {{1, 0.25F}, {4, 0.5F}};
  same.total = 0.75;
  EXPECT_EQ(draw_residual(same, same, 0.5), std::nullopt);
  TokenDistribution other;
  other.candidates = {{1, 1.0F}};
  other.total = 1;
  EXPECT_EQ(draw_residual(same, other, 0.99), 4);
}

}  // namespace
}  // namespace iol
