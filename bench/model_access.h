#pragma once
// The one place where the bench asks the model and tokenizer libraries for a model.
#include <memory>
#include <string>

#include "bench/bench_model.h"
#include "engine/engine.h"
#include "tokenizer/tokenizer.h"
#include "workload/prompts.h"

namespace iol::bench {

/// Finds the model and reads its configuration, not its weights. `engine` says the dtype, and what
/// is asked of an engine directory: its format, and whether to verify it.
BenchModel load_bench_model(const std::string& name, const EngineConfig& engine);

/// The model's tokenizer; null for a synthetic model.
std::unique_ptr<Tokenizer> load_tokenizer(const BenchModel& model);

/// The held-out text in the model's own tokens; random ids for a synthetic model.
PromptSource load_prompt_source(const BenchModel& model);

}  // namespace iol::bench
