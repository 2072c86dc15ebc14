#pragma once
// What speculation takes of a step.
#include "engine/engine.h"

namespace iol {

/// Draft tokens of a step, all sequences together: the fixed depth for each sequence; where the
/// depth is chosen, 4 for each sequence and at least 16, which one of them may have alone.
int most_step_drafts(const EngineConfig& config);

/// Rows of logits that a step may ask for: one per sequence and draft.
int most_logit_rows(const EngineConfig& config);

}  // namespace iol
