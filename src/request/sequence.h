#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "request/request.h"

namespace iol {

using BlockId = std::int32_t;

/// A request on its way through the engine: owned by the engine, moved between queues by the
/// scheduler.
struct Sequence {
  RequestId id = 0;
  std::uint64_t arrival_index = 0;  // order of submission
  SamplingParams sampling;
  int priority = 0;
  std::uint64_t seed = 0;
  bool has_own_seed = false;  // the request named it: speculation must not change its tokens
  bool speculates = true;     // see Request

  std::vector<std::int32_t> tokens;  // prompt, then output
  int num_prompt_tokens = 0;
  int num_computed_tokens = 0;  // tokens whose keys and values are in the cache
  std::vector<BlockId>
      block_table;  // block i holds positions [i * block_size, (i + 1) * block_size)
  // Of a preempted sequence whose keys and values wait in the host's memory: the place of block i,
  // and the tokens that they are of.
  std::vector<std::int32_t> swap_slots;
  int num_swapped_tokens = 0;

  // Guesses of what comes after `tokens`, to be verified by the next step that takes them along.
  std::vector<std::int32_t> draft_tokens;
  bool drafts_were_drawn = false;  // from distributions: they are judged by rejection

  bool is_decoding = false;  // prefill is over; false again after a preemption
  // Of a step that isn't over: tokens.back() is a placeholder (see StepInput), and where it is
  // certain to be the last, nothing is left to compute.
  bool has_placeholder = false;
  bool awaits_last_token = false;
  int num_cached_tokens = 0;  // found in the prefix index when last admitted
  int num_preemptions = 0;
  std::optional<FinishReason> finish_reason;

  [[nodiscard]] int num_tokens() const { return static_cast<int>(tokens.size()); }
  /// All but the placeholder.
  [[nodiscard]] std::span<const std::int32_t> known_tokens() const {
    return std::span(tokens).first(tokens.size() - (has_placeholder ? 1 : 0));
  }
  [[nodiscard]] int num_output_tokens() const { return num_tokens() - num_prompt_tokens; }
};

}  // namespace iol
