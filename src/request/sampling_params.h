#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace iol {

/// How the tokens of one request are chosen and when it ends. Defaults: greedy, 16 tokens.
struct SamplingParams {
  double temperature = 0.0;         // 0: greedy
  int top_k = 0;                    // 0: all
  double top_p = 1.0;               // in (0, 1]
  double min_p = 0.0;               // in [0, 1]; relative to the most likely token
  double repetition_penalty = 1.0;  // > 0; over prompt and output (CTRL, Keskar et al. 2019)
  double presence_penalty = 0.0;    // in [-2, 2]; over output only
  double frequency_penalty = 0.0;   // in [-2, 2]; over output only
  std::vector<std::pair<std::int32_t, float>> logit_bias = {};  // token id, added to its logit
  // Also report log-probabilities: of the sampled token and of the top N; 0: of the sampled alone.
  std::optional<int> num_logprobs = std::nullopt;
  // Unset: derived from the engine's seed and the request's number.
  std::optional<std::uint64_t> seed = std::nullopt;

  int max_tokens = 16;
  int min_tokens = 0;  // no stop and no end-of-sequence before this many output tokens
  std::vector<std::string> stop = {};  // cut before the first of these in the output text
  std::vector<std::int32_t> stop_token_ids = {};  // end after one of these; not part of the text
  bool ignore_eos = false;

  /// Throws InputError naming the field, its value and its range.
  void validate(int vocab_size) const;
};

}  // namespace iol
