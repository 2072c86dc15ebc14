#include "sampler/sampler.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/random.h"
#include "sampler/logit_processing.h"

namespace iol {
namespace {

// Below it a softmax of f32 logits is a single token.
constexpr double kGreedyTemperature = 1e-5;

bool is_greedy(const SamplingParams& sampling) { return !draws_tokens(sampling); }

/// The random number of the sequence's next token, or of the one `num_ahead` behind it.
double uniform_of(const Sequence& sequence, std::uint64_t stream, int num_ahead = 0) {
  return random_uniform(sequence.seed, stream,
                        static_cast<std::uint64_t>(sequence.num_output_tokens() + num_ahead));
}

std::int32_t first_index_of(std::span<const float> values, float value) {
  return static_cast<std::int32_t>(std::ranges::find(values, value) - values.begin());
}

}  // namespace

bool draws_tokens(const SamplingParams& sampling) {
  return sampling.temperature >= kGreedyTemperature;
}

bool needs_logits(const Sequence& sequence) {
  const auto choice = token_choice(sequence);
  return !choice || choice->temperature > 0;
}

std::optional<TokenChoice> token_choice(const Sequence& sequence, int num_ahead) {
  const SamplingParams& sampling = sequence.sampling;
  if (sampling.num_logprobs || changes_logits(sampling, sequence.num_output_tokens() + num_ahead))
    return {};
  TokenChoice choice;
  if (is_greedy(sampling)) return choice;
  choice.temperature = sampling.temperature;
  choice.top_p = sampling.top_p;
  choice.min_p = sampling.min_p;
  choice.top_k = sampling.top_k;
  choice.uniform = uniform_of(sequence, kSamplingStream, num_ahead);
  return choice;
}

Sampler::Sampler(std::span<const std::int32_t> eos_token_ids)
    : eos_token_ids_(eos_token_ids.begin(), eos_token_ids.end()) {}

std::span<const float> Sampler::process(std::span<float> logits, const Sequence& sequence,
                                        SamplerState& state) {
  const SamplingParams& sampling = sequence.sampling;
  if (!changes_logits(sampling, sequence.num_output_tokens())) return logits;
  std::span<const float> raw_logits;
  if (sampling.num_logprobs) {
    raw_logits_.assign(logits.begin(), logits.end());
    raw_logits = raw_logits_;
  }
  if (has_penalty(sampling)) state.counts.catch_up(sequence);
  process_logits(logits, sequence, state.counts, eos_token_ids_);
  return raw_logits;
}

SampledToken Sampler::sample(std::span<float> logits, const Sequence& sequence,
                             SamplerState& state) {
  const SamplingParams& sampling = sequence.sampling;
  const std::span<const float> raw_logits = process(logits, sequence, state);
  SampledToken sampled;
  sampled.token =
      is_greedy(sampling) ? first_index_of(logits, max_logit(logits)) : draw(logits, sequence);
  if (sampling.num_logprobs) {
    sampled.logprobs = logprobs(raw_logits, sampled.token, *sampling.num_logprobs);
  }
  return sampled;
}

void Sampler::distribution(std::span<float> logits, const Sequence& sequence, SamplerState& state,
                           TokenDistribution& result) {
  static_cast<void>(process(logits, sequence, state));
  draw_from(logits, sequence.sampling, result);
}

void Sampler::draw_from(std::span<const float> logits, const SamplingParams& sampling,
                        TokenDistribution& result) {
  IOL_CHECK(draws_tokens(sampling));
  result.candidates.clear();
  if (truncate(logits, sampling)) {
    result.candidates = candidates_;
  } else {
    const auto weights = softmax_.weights();
    for (std::size_t i = 0; i < weights.size(); ++i) {
      if (weights[i] > 0) result.candidates.push_back({static_cast<std::int32_t>(i), weights[i]});
    }
  }
  result.total = 0;
  for (const Candidate& candidate : result.candidates) result.total += double{candidate.weight};
}

SampledToken Sampler::sample_with_draft(std::span<float> logits, const Sequence& sequence,
                                        SamplerState& state, std::int32_t draft,
                                        const TokenDistribution& draft_distribution) {
  const SamplingParams& sampling = sequence.sampling;
  const std::span<const float> raw_logits = process(logits, sequence, state);
  draw_from(logits, sampling, target_);
  SampledToken sampled;
  const double ratio_uniform = uniform_of(sequence, kAcceptanceStream);
  if (ratio_uniform * draft_distribution.probability(draft) < target_.probability(draft)) {
    sampled.token = draft;
  } else {
    const double uniform = uniform_of(sequence, kResidualStream);
    const auto other = draw_residual(target_, draft_distribution, uniform);
    sampled.token = other ? *other : target_.draw(uniform);
  }
  if (sampling.num_logprobs) {
    sampled.logprobs = logprobs(raw_logits, sampled.token, *sampling.num_logprobs);
  }
  return sampled;
}

std::int32_t Sampler::draw(std::span<const float> logits, const Sequence& sequence) {
  const double uniform = uniform_of(sequence, kSamplingStream);
  if (!truncate(logits, sequence.sampling)) return softmax_.draw(uniform);
  double kept = 0;
  for (const Candidate& candidate : candidates_) kept += double{candidate.weight};
  const double target = uniform * kept;
  double sum = 0;
  for (const Candidate& candidate : candidates_) {
    sum += double{candidate.weight};
    if (sum > target) return candidate.token;
  }
  IOL_CHECK(!candidates_.empty());
  return candidates_.back().token;
}

bool Sampler::truncate(std::span<const float> logits, const SamplingParams& sampling) {
  const float max = max_logit(logits);
  const auto temperature = static_cast<float>(sampling.temperature);
  const double vocab_size = static_cast<double>(logits.size());
  double total = 0;
  if (sampling.top_k > 0 && sampling.top_k < static_cast<int>(logits.size())) {
    collect_top_k(logits, sampling.top_k, max, temperature);
    for (const Candidate& candidate : candidates_) total += double{candidate.weight};
  } else {
    softmax_.compute(logits, max, temperature);
    total = softmax_.total();
    // All tokens lighter than this together weigh less than the tail that top_p cuts off. (The
    // factor leaves room for rounding.)
    const double tail = 0.99 * (1.0 - sampling.top_p) * total / vocab_size;
    const double floor = std::max(sampling.min_p, tail);
    if (floor <= 0) return false;
    collect_above(static_cast<float>(floor));
  }
  if (sampling.top_p < 1.0) truncation_.keep_heaviest(candidates_, sampling.top_p * total);
  std::erase_if(candidates_, [&](const Candidate& candidate) {
    return double{candidate.weight} < sampling.min_p;
  });
  return true;
}

/// Candidates: every logit that is not below the k-th largest.
void Sampler::collect_top_k(std::span<const float> logits, int k, float max, float temperature) {
  const float threshold = truncation_.kth_largest(logits, k);
  candidates_.clear();
  for_each_at_least(logits, threshold, [&](std::size_t i) {
    const float weight = exp_nonpositive((logits[i] - max) / temperature);
    if (weight > 0) candidates_.push_back({static_cast<std::int32_t>(i), weight});
  });
}

/// Candidates: every weight of at least `floor`.
void Sampler::collect_above(float floor) {
  candidates_.clear();
  const auto weights = softmax_.weights();
  for_each_at_least(weights, floor, [&](std::size_t i) {
    candidates_.push_back({static_cast<std::int32_t>(i), weights[i]});
  });
}

TokenLogprobs Sampler::logprobs(std::span<const float> raw_logits, std::int32_t token,
                                int num_top) {
  const float max = max_logit(raw_logits);
  softmax_.compute(raw_logits, max, 1.0F);
  const double log_sum = double{max} + std::log(softmax_.total());
  const auto logprob_of = [&](std::size_t index) {
    return static_cast<float>(double{raw_logits[index]} - log_sum);
  };
  TokenLogprobs result;
  result.sampled = {token, logprob_of(static_cast<std::size_t>(token))};
  const auto num_wanted = std::min(static_cast<std::size_t>(num_top), raw_logits.size());
  if (num_wanted == 0) return result;
  const float threshold = truncation_.kth_largest(raw_logits, static_cast<int>(num_wanted));
  for_each_at_least(raw_logits, threshold, [&](std::size_t i) {
    result.top.push_back({static_cast<std::int32_t>(i), logprob_of(i)});
  });
  // By logit, not by its rounded logarithm; ids ascend already.
  std::ranges::stable_sort(result.top, [&](const TokenLogprob& a, const TokenLogprob& b) {
    return raw_logits[static_cast<std::size_t>(a.token)] >
           raw_logits[static_cast<std::size_t>(b.token)];
  });
  result.top.resize(num_wanted);
  return result;
}

}  // namespace iol
