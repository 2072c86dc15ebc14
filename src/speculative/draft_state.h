#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>

#include "speculative/acceptance.h"
#include "speculative/drafter.h"

namespace iol {

/// What lookup said of a token before it was known.
struct TokenGuess {
  std::size_t position;  // of the sequence
  std::int32_t token;
};

/// What speculation keeps for one request from step to step.
struct DraftState {
  Draft draft;              // of the step at hand
  bool from_model = false;  // who made it
  DraftChances wanted{};    // see OutputLengths
  std::optional<TokenGuess> guess;
  std::optional<Acceptance> lookup_acceptance;
  std::optional<Acceptance> model_acceptance;

  /// Of who made the draft; nothing before it was asked for.
  std::optional<Acceptance>& acceptance() {
    return from_model ? model_acceptance : lookup_acceptance;
  }
};

}  // namespace iol
