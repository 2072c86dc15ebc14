#pragma once
// What speculation takes of a step, and where it can't be had.
#include "backend/backend.h"
#include "engine/engine.h"

namespace iol {

/// Draft tokens of a step, all sequences together: the fixed depth for each sequence; where the
/// depth is chosen, 4 for each sequence and at least 16, which one of them may have alone.
int most_step_drafts(const EngineConfig& config);

/// Rows of logits that a step may ask for: one per sequence and draft.
int most_logit_rows(const EngineConfig& config);

/// Throws InputError when speculation is asked for on a device that has none.
void refuse_speculation_on(const Device& device, const SpeculationConfig& config);
/// The same of a backend whose steps overlap: drafts need the tokens of the step before.
void refuse_speculation_beside(const Backend& backend, const SpeculationConfig& config);

}  // namespace iol
