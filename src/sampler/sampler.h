#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "backend/token_choice.h"
#include "request/request.h"
#include "request/sequence.h"
#include "sampler/softmax.h"
#include "sampler/token_counts.h"
#include "sampler/token_distribution.h"
#include "sampler/truncation.h"

namespace iol {

/// The streams of base/random.h that draw tokens; the counter is the output position.
inline constexpr std::uint64_t kSamplingStream = 1;
inline constexpr std::uint64_t kDraftStream = 2;       // draft tokens
inline constexpr std::uint64_t kAcceptanceStream = 3;  // whether a draft token is accepted
inline constexpr std::uint64_t kResidualStream = 4;    // what replaces it where it isn't

/// What the sampler remembers of one sequence from token to token. Rebuilt from the sequence's
/// tokens when default-constructed anew.
struct SamplerState {
  TokenCounts counts;  // empty unless the request has a penalty
};

struct SampledToken {
  std::int32_t token = 0;
  std::optional<TokenLogprobs> logprobs;  // when SamplingParams::num_logprobs is set
};

/// True when the request draws its tokens; false when it takes the most likely.
bool draws_tokens(const SamplingParams& sampling);

/// True when the sequence's next token is chosen from anything but the position of the largest raw
/// logit.
bool needs_logits(const Sequence& sequence);

/// How a device that samples chooses the sequence's next token; nothing when that takes more than a
/// TokenChoice says, and the host must do it: a bias, a penalty, tokens forbidden before
/// min_tokens, log-probabilities.
/// `num_ahead`: not of the next token but of the one so many positions behind it.
std::optional<TokenChoice> token_choice(const Sequence& sequence, int num_ahead = 0);

/// Chooses tokens from logits, in the order of transformers' `generate` (and of vLLM up to 6):
///
///   1. logit_bias is added
///   2. repetition penalty r over prompt and output: l > 0 ? l / r : l * r
///   3. l -= frequency_penalty * count + presence_penalty * (count > 0), over output (OpenAI's)
///   4. before min_tokens: stop tokens and, unless ignored, end-of-sequence tokens become -inf
///   5. temperature 0 (below 1e-5): the largest logit, the lowest id among equals; nothing below
///   applies
///   6. l /= temperature
///   7. top_k: logits below the k-th largest are dropped; equals of the k-th stay
///   8. top_p: the most likely tokens whose sum first reaches top_p of what is left, the lowest id
///      first among equals; at least one
///   9. min_p: tokens less likely than min_p times the most likely are dropped
///  10. inverse CDF in ascending id order with one uniform number that depends on the request's
///      seed and the output position alone, so on neither batch nor preemption
///
/// Log-probabilities are natural logarithms of the softmax of the logits as the model gave them:
/// before step 1. Logits are f32, sums are double. Costs O(vocabulary) for any setting.
///
/// One thread at a time (it keeps scratch memory).
class Sampler {
 public:
  explicit Sampler(std::span<const std::int32_t> eos_token_ids);

  /// `logits` [vocabulary] is overwritten. Throws Error when it holds NaN or no finite value.
  SampledToken sample(std::span<float> logits, const Sequence& sequence, SamplerState& state);

  /// The distribution that sample() draws from, steps 1 to 9. `logits` [vocabulary] is overwritten.
  /// The request draws its tokens.
  void distribution(std::span<float> logits, const Sequence& sequence, SamplerState& state,
                    TokenDistribution& result);

  /// Rejection sampling (Leviathan, Kalman, Matias 2023; Chen et al. 2023): with p the distribution
  /// that sample() would draw from and q the one that `draft` was drawn from, `draft` itself with
  /// probability min(1, p(draft) / q(draft)), else a token of max(0, p - q), normalized. Whatever q
  /// is, the token is distributed as p. The request draws its tokens.
  SampledToken sample_with_draft(std::span<float> logits, const Sequence& sequence,
                                 SamplerState& state, std::int32_t draft,
                                 const TokenDistribution& draft_distribution);

 private:
  /// Steps 1 to 4, in place; returns the logits as they were, when log-probabilities are wanted.
  std::span<const float> process(std::span<float> logits, const Sequence& sequence,
                                 SamplerState& state);
  [[nodiscard]] std::int32_t draw(std::span<const float> logits, const Sequence& sequence);
  /// Steps 5 to 9 into `candidates_`; false when they drop nothing: `softmax_` has all tokens.
  bool truncate(std::span<const float> logits, const SamplingParams& sampling);
  void draw_from(std::span<const float> logits, const SamplingParams& sampling,
                 TokenDistribution& result);
  [[nodiscard]] TokenLogprobs logprobs(std::span<const float> raw_logits, std::int32_t token,
                                       int num_top);
  void collect_top_k(std::span<const float> logits, int k, float max, float temperature);
  void collect_above(float floor);

  std::vector<std::int32_t> eos_token_ids_;
  // Scratch, kept from call to call so that a step allocates nothing.
  std::vector<float> raw_logits_;
  std::vector<Candidate> candidates_;  // ascending ids
  SoftmaxWeights softmax_;
  Truncation truncation_;
  TokenDistribution target_;
};

}  // namespace iol
