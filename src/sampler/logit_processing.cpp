#include "sampler/logit_processing.h"

#include <limits>

namespace iol {
namespace {

void apply_penalties(std::span<float> logits, const SamplingParams& sampling,
                     const TokenCounts& counts) {
  const auto repetition = static_cast<float>(sampling.repetition_penalty);
  const auto frequency = static_cast<float>(sampling.frequency_penalty);
  const auto presence = static_cast<float>(sampling.presence_penalty);
  for (const TokenCounts::Entry& entry : counts.entries()) {
    const auto index = static_cast<std::size_t>(entry.token);
    if (index >= logits.size()) continue;  // a prompt may hold ids that the head does not produce
    float& logit = logits[index];
    logit = logit > 0 ? logit / repetition : logit * repetition;
    if (entry.num_in_output > 0) {
      logit -= frequency * static_cast<float>(entry.num_in_output);
      logit -= presence;
    }
  }
}

void forbid(std::span<float> logits, std::span<const std::int32_t> tokens) {
  for (const std::int32_t token : tokens) {
    const auto index = static_cast<std::size_t>(token);
    if (index < logits.size()) logits[index] = -std::numeric_limits<float>::infinity();
  }
}

}  // namespace

bool has_penalty(const SamplingParams& sampling) {
  return sampling.repetition_penalty != 1.0 || sampling.presence_penalty != 0.0 ||
         sampling.frequency_penalty != 0.0;
}

bool changes_logits(const SamplingParams& sampling, int num_output_tokens) {
  return !sampling.logit_bias.empty() || has_penalty(sampling) ||
         num_output_tokens < sampling.min_tokens;
}

void process_logits(std::span<float> logits, const Sequence& sequence, const TokenCounts& counts,
                    std::span<const std::int32_t> eos_token_ids) {
  const SamplingParams& sampling = sequence.sampling;
  for (const auto& [token, bias] : sampling.logit_bias) {
    logits[static_cast<std::size_t>(token)] += bias;
  }
  if (has_penalty(sampling)) apply_penalties(logits, sampling, counts);
  if (sequence.num_output_tokens() < sampling.min_tokens) {
    forbid(logits, sampling.stop_token_ids);
    if (!sampling.ignore_eos) forbid(logits, eos_token_ids);
  }
}

}  // namespace iol
