#include "sampler/stop_checker.h"

#include <algorithm>

#include "base/error.h"

namespace iol {

StopChecker::StopChecker(std::span<const std::int32_t> eos_token_ids, int max_context)
    : eos_token_ids_(eos_token_ids.begin(), eos_token_ids.end()), max_context_(max_context) {}

std::optional<FinishReason> StopChecker::check(const Sequence& sequence) const {
  IOL_CHECK(sequence.num_output_tokens() > 0);
  const SamplingParams& sampling = sequence.sampling;
  const auto is_latest = [&](std::int32_t token) { return token == sequence.tokens.back(); };
  // The sampler forbids them before min_tokens; a token that came by another way is no end either.
  if (sequence.num_output_tokens() > sampling.min_tokens) {
    if (std::ranges::any_of(sampling.stop_token_ids, is_latest)) return FinishReason::kStop;
    if (!sampling.ignore_eos && std::ranges::any_of(eos_token_ids_, is_latest)) {
      return FinishReason::kStop;
    }
  }
  if (reaches_limit(sequence)) return FinishReason::kLength;
  return std::nullopt;
}

bool StopChecker::reaches_limit(const Sequence& sequence) const {
  return sequence.num_output_tokens() >= sequence.sampling.max_tokens ||
         sequence.num_tokens() >= max_context_;
}

}  // namespace iol
