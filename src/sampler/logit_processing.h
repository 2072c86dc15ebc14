#pragma once
#include <cstdint>
#include <span>

#include "request/sequence.h"
#include "sampler/token_counts.h"

namespace iol {

/// True when the request changes logits before its next token is chosen from them.
bool changes_logits(const SamplingParams& sampling, int num_output_tokens);

/// True when the request has a repetition, presence or frequency penalty.
bool has_penalty(const SamplingParams& sampling);

/// Steps 1 to 4 of Sampler: bias, penalties and the tokens forbidden before min_tokens. `counts` is
/// up to date when the request has a penalty.
void process_logits(std::span<float> logits, const Sequence& sequence, const TokenCounts& counts,
                    std::span<const std::int32_t> eos_token_ids);

}  // namespace iol
