#pragma once
// The ladder: from PyTorch to the engine with every lever on, one variable per rung.
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "bench/bench_model.h"
#include "bench/scenario.h"
#include "bench/subject.h"
#include "engine/engine.h"

namespace iol::bench {

struct LadderOptions {
  /// Format of the quantized rungs; the engine's own --quant and --kv-cache where given.
  Quantization quant = {.format = WeightFormat::kInt8};
  DType kv_dtype = DType::kI8;
  /// Sequences of the longest request that the KV memory of every rung holds; 0: a quarter of the
  /// highest concurrency, at least one.
  int kv_sequences = 0;
};

/// The traffic that shows what batching and paging are for, unless the user asks for another: mixed
/// lengths, four times as many requests under way as a contiguous cache has room for, clients that
/// don't know how long an output will be.
ScenarioOptions ladder_scenario();

/// Sequences of the longest request that fit into the KV memory of each rung.
int ladder_kv_sequences(const LadderOptions& options, const ScenarioOptions& scenario);

/// One rung: one of our engine's configurations, or one of PyTorch's ways.
struct Rung {
  std::string subject;                 // its name in the records
  std::string label;                   // "+ paged KV cache"
  std::string change;                  // the one thing that differs from the rung before
  std::string lever;                   // in_flight_batching, paged_kv_cache, quantized_weights, ...
  std::optional<EngineConfig> engine;  // nothing: PyTorch
};

struct LadderPlan {
  std::vector<Rung> rungs;
  std::int64_t kv_cache_bytes = 0;  // of each of our rungs, the same for all
  int kv_sequences = 1;             // of the longest request, contiguous and unquantized
};

/// Every rung of ours has the same bytes for keys and values: what a lever frees becomes room for
/// more sequences. `engine` is the configuration that the rungs start from (device, threads, limits
/// of a step; its speculation is that of the last rung, which a GPU doesn't have yet);
/// `reuses_prefixes` when the traffic shares any. Throws InputError for a model that is quantized
/// already.
LadderPlan plan_ladder(const LadderOptions& options, const EngineConfig& engine,
                       const BenchModel& model, const Plan& plan, bool with_pytorch,
                       bool reuses_prefixes);

/// Our rungs as subjects, in order.
std::vector<std::unique_ptr<Subject>> make_rung_subjects(const LadderPlan& ladder);

/// What the report needs: {kv_cache_bytes, kv_sequences, rungs: [{subject, label, change, lever}]}.
nlohmann::json ladder_record(const LadderPlan& ladder);

}  // namespace iol::bench
