#pragma once
// Prompts as token ids: windows of a real text, or random ids for a model that knows no text.
#include <cstdint>
#include <span>
#include <vector>

#include "workload/length_distribution.h"

namespace iol {

/// What one request of a workload asks for.
struct WorkloadRequest {
  std::int64_t id = 0;  // unique within a bench
  std::vector<std::int32_t> prompt_tokens;
  std::int64_t output_tokens = 0;  // exactly this many are generated
  std::int64_t due_ns = 0;         // in an open loop: after the load's beginning
  /// The most that the client allows, which a server has to be ready for when it can't know that
  /// the output ends earlier; 0: output_tokens.
  std::int64_t output_limit = 0;

  [[nodiscard]] std::int64_t most_output_tokens() const {
    return output_limit > output_tokens ? output_limit : output_tokens;
  }
};

/// Where the ids of prompts come from.
class PromptSource {
 public:
  /// Windows of `text_tokens`, at places that differ from prompt to prompt. A prompt longer than
  /// the text wraps around to its beginning. Throws InputError when there is no token at all.
  static PromptSource from_text(std::vector<std::int32_t> text_tokens);
  /// Uniform ids of [0, vocab_size).
  static PromptSource random_ids(std::int32_t vocab_size);

  /// The whole text; empty for random ids.
  [[nodiscard]] std::span<const std::int32_t> text_tokens() const { return text_tokens_; }
  [[nodiscard]] std::vector<std::int32_t> take(std::int64_t num_tokens, RandomStream& random) const;

 private:
  std::vector<std::int32_t> text_tokens_;
  std::int32_t vocab_size_ = 0;
};

/// `count` requests, ids from `first_id`: a pure function of its arguments, so every subject of a
/// bench is asked the same. Throws InputError when a prompt and its output together are longer than
/// `max_context` positions.
std::vector<WorkloadRequest> make_requests(const PromptSource& source,
                                           const LengthDistribution& input_tokens,
                                           const LengthDistribution& output_tokens,
                                           std::int64_t first_id, std::int64_t count,
                                           std::uint64_t seed, std::int64_t max_context);

}  // namespace iol
