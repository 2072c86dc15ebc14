#pragma once
#include "engine/engine.h"

namespace iol {

/// Throws InputError for PreemptionMode::kSwap where there is nothing to swap, or nowhere to swap
/// it to, and ResourceError when the host has not enough memory for it.
void check_preemption(const EngineConfig& config);

}  // namespace iol
