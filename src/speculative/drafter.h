#pragma once
// What guesses the next tokens of sequences, for the model to verify.
//
// A drafter answers with a chain of tokens. Token trees would give Draft a parent for each token;
// heads that read the model's hidden states (EAGLE) would be a drafter that is shown them after
// each step.
#include <cstdint>
#include <span>
#include <vector>

#include "request/sequence.h"
#include "sampler/token_distribution.h"

namespace iol {

/// What a drafter is asked for one sequence, and its answer.
struct Draft {
  const Sequence* sequence = nullptr;  // decodes
  int max_tokens = 0;                  // wanted at most; at least 1
  bool from_latest = false;            // soon rather than well: see num_missing()

  std::vector<std::int32_t> tokens;  // the answer; fewer than wanted, or none, when it has no guess
  // [tokens] What each token was drawn from. Empty: tokens are guesses that were not drawn, as if
  // each was certain.
  std::vector<TokenDistribution> distributions;
};

/// One thread at a time. Nothing that it does changes what the engine's requests get, only how fast
/// (tests/engine/speculation_test.cpp).
class Drafter {
 public:
  virtual ~Drafter() = default;

  /// Fills tokens and distributions of each, which come in empty. The tokens of a sequence may have
  /// gone on since it was seen last, with or without the drafts. Throws Error when the drafter is
  /// broken.
  virtual void propose(std::span<Draft* const> drafts) = 0;
  /// Tokens of the sequence that must be computed before the first guess; 0: guesses cost nothing.
  /// `from_latest`: for guesses that may go by the latest tokens alone, and be worse for it.
  [[nodiscard]] virtual int num_missing(const Sequence& sequence, bool from_latest) const = 0;
  /// The request has ended.
  virtual void forget(RequestId request) = 0;
  /// Forgets what was kept for requests to come.
  virtual void clear_prefixes() = 0;
};

}  // namespace iol
