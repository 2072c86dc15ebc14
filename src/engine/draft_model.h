#pragma once
#include "engine/engine.h"
#include "engine/loaded_model.h"
#include "speculative/model_drafter.h"

namespace iol {

/// Loads config.speculation.model to draft for `target`: onto its backend, in its dtype and with
/// its format of the KV cache; weights as config.speculation.quant says, an engine directory brings
/// its own format. Throws InputError
/// for a model that can't draft for it (the target itself, another vocabulary or tokenizer, a
/// context below config.max_context), ResourceError when its weights don't fit.
DraftModel load_draft_model(const EngineConfig& config, const LoadedModel& target);

}  // namespace iol
