#pragma once
#include <filesystem>
#include <string>

#include "engine/engine.h"
#include "engine/loaded_model.h"
#include "model/resolve.h"
#include "speculative/model_drafter.h"

namespace iol {

struct DraftCandidate {
  const std::string& name;
  const ResolvedModel& resolved;
  const ModelConfig& config;
};

/// Whom it is to draft for.
struct DraftTarget {
  std::string name;
  std::filesystem::path folder;  // empty for a synthetic one
  int vocab_size = 0;
  int max_context = 0;  // of sequences
};

/// Throws InputError where the configuration tells that it can't: the target itself, another
/// vocabulary size, a shorter context.
void check_draft_config(const DraftCandidate& draft, const DraftTarget& target);

/// Loads config.speculation.model to draft for `target`: onto its backend, in its dtype and with
/// its format of the KV cache; weights as config.speculation.quant says, an engine directory brings
/// its own format. Throws InputError
/// for a model that can't draft for it (the target itself, another vocabulary or tokenizer, a
/// context below config.max_context), ResourceError when its weights don't fit.
DraftModel load_draft_model(const EngineConfig& config, const LoadedModel& target);

}  // namespace iol
