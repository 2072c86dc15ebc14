#pragma once
// The quality of what a bench measured the speed of, as records.
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "bench/bench_model.h"
#include "bench/records.h"
#include "engine/engine.h"
#include "workload/prompts.h"

namespace iol::bench {

/// A subject whose quality is wanted.
struct QualitySubject {
  std::string name;
  EngineConfig engine;
};

struct QualityInputs {
  const BenchModel& model;
  const std::vector<QualitySubject>& subjects;
  const PromptSource& prompts;
  std::uint64_t seed = 0;
  std::function<bool()> interrupted;
};

/// Speed is worth what the quality beside it is: the perplexity of the configurations that ran, on
/// the beginning of the text that prompts were taken from, and their divergence from the
/// unquantized one. Each format of weights and cache is measured once; batching and allocation
/// don't change a token. Loads the model again, in this process. Throws Interrupted.
void record_quality(const QualityInputs& inputs, RecordWriter& records);

}  // namespace iol::bench
