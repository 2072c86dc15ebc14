#pragma once
// The one place where the bench asks the model and tokenizer libraries for a model.
#include <optional>
#include <string>

#include "bench/bench_model.h"
#include "workload/prompts.h"

namespace iol::bench {

/// Finds the model and reads its configuration, not its weights.
BenchModel load_bench_model(const std::string& name, const std::optional<DType>& dtype);

/// The held-out text in the model's own tokens; random ids for a synthetic model.
PromptSource load_prompt_source(const BenchModel& model);

}  // namespace iol::bench
