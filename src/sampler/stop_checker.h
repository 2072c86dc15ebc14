#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "request/request.h"
#include "request/sequence.h"

namespace iol {

/// Decides from its ids whether a token ends its sequence. Stop strings: stop_strings.h.
class StopChecker {
 public:
  /// `max_context`: positions a sequence may have.
  StopChecker(std::span<const std::int32_t> eos_token_ids, int max_context);

  /// Asked once per output token, when it is the last of sequence.tokens: kStop for an
  /// end-of-sequence or stop token (its text is not part of the output), kLength when max_tokens or
  /// the context is reached, nothing to go on.
  [[nodiscard]] std::optional<FinishReason> check(const Sequence& sequence) const;
  /// True when the sequence is as long as it may become.
  [[nodiscard]] bool reaches_limit(const Sequence& sequence) const;

 private:
  std::vector<std::int32_t> eos_token_ids_;
  int max_context_;
};

}  // namespace iol
