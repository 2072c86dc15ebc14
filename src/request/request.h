#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "request/sampling_params.h"

namespace iol {

using RequestId = std::uint64_t;

/// What a client asks for.
struct Request {
  std::vector<std::int32_t> prompt_tokens;  // at least one
  SamplingParams sampling;
  int priority = 0;        // smaller is served first; ties by arrival
  bool speculates = true;  // false: nobody drafts for it
};

enum class FinishReason : std::uint8_t {
  kStop,       // an end-of-sequence token, a stop token or a stop string
  kLength,     // max_tokens or the model's context is reached
  kCancelled,  // by the client
  kError,      // the step that held it failed; the event carries the message
};

/// The names OpenAI clients know: "stop", "length", ...
std::string_view finish_reason_name(FinishReason reason);

struct TokenLogprob {
  std::int32_t token;
  float logprob;  // natural logarithm, of the distribution before temperature and truncation
};

/// Log-probabilities of one emitted token.
struct TokenLogprobs {
  TokenLogprob sampled;
  std::vector<TokenLogprob> top;  // most likely first; num_logprobs entries
};

}  // namespace iol
