// A CPU step that verifies drafts: one sequence, 1 to 16 rows, the time of each fused operation and
// of the whole pass, in microseconds.
//
//   build/step_bench [MODEL] [FORMAT] [CONTEXT]   (default demo none 200)
//
// Row counts take turns, so that a slow spell of the machine hits all of them; medians.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "engine/loaded_model.h"

namespace {

using namespace iol;

constexpr std::array kRowCounts = {1, 2, 3, 4, 5, 6, 7, 8, 12, 16};
constexpr std::array kOperations = {"embed",          "project_qkv",  "attend",
                                    "project_output", "feed_forward", "project_logits"};
constexpr int kRounds = 400;
constexpr int kBlockSize = 16;

using Times = std::array<double, kOperations.size() + 1>;  // and the whole pass

/// Runs the operations of transformer.cpp one by one.
Times run_pass(const LoadedModel& model, Activations& activations, KvCache& cache,
               const StepInput& input) {
  Times times{};
  Backend& backend = *model.backend;
  const std::int64_t start_ns = now_ns();
  std::int64_t last_ns = start_ns;
  const auto lap = [&](std::size_t operation) {
    const std::int64_t now = now_ns();
    times[operation] += static_cast<double>(now - last_ns) * 1e-3;
    last_ns = now;
  };
  backend.embed(activations, input, *model.weights.embedding);
  lap(0);
  for (int i = 0; i < model.config.num_layers; ++i) {
    const LayerWeights& layer = model.weights.layers[static_cast<std::size_t>(i)];
    backend.project_qkv(activations, input, layer, cache, i);
    lap(1);
    backend.attend(activations, input, cache, i, {});
    lap(2);
    backend.project_output(activations, input, layer);
    lap(3);
    backend.feed_forward(activations, input, layer);
    lap(4);
  }
  backend.project_logits(activations, input, *model.weights.final_norm,
                         model.weights.output_head());
  lap(5);
  times.back() = static_cast<double>(last_ns - start_ns) * 1e-3;
  return times;
}

double median(std::vector<double>& values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

void run(const std::string& name, const std::string& format, int context) {
  EngineConfig config;
  config.model = name;
  config.dtype = DType::kBF16;
  config.quant.format = parse_weight_format(format).value();
  config.quant.head = config.quant.format;
  const LoadedModel model = load_model(config);
  const auto& shape = model.config;
  const int num_blocks = (context + kRowCounts.back()) / kBlockSize + 1;
  const auto cache = model.backend->make_kv_cache(
      {shape.num_layers, num_blocks, kBlockSize, shape.num_kv_heads, shape.head_dim, DType::kBF16});
  const auto activations = model.backend->make_activations(transformer_shape(shape),
                                                           kRowCounts.back(), kRowCounts.back());
  std::vector<BlockId> table;
  for (int block = 0; block < num_blocks; ++block) table.push_back(block);
  std::array<std::array<std::vector<double>, kOperations.size() + 1>, kRowCounts.size()> samples;
  for (int round = 0; round < kRounds; ++round) {
    for (std::size_t c = 0; c < kRowCounts.size(); ++c) {
      std::vector<std::int32_t> tokens, positions, logit_tokens;
      for (int row = 0; row < kRowCounts[c]; ++row) {
        tokens.push_back((7919 * (round + row) + 11) % shape.vocab_size);
        positions.push_back(context + row);
        logit_tokens.push_back(row);
      }
      const std::array sequences = {SequenceSlice{0, kRowCounts[c], context, table}};
      const StepInput input = {tokens, positions, sequences, logit_tokens, {}};
      run_pass(model, *activations, *cache, input);  // what the caches hold is this row count's
      const Times times = run_pass(model, *activations, *cache, input);
      for (std::size_t i = 0; i < times.size(); ++i) samples[c][i].push_back(times[i]);
    }
  }
  fmt::print("{}, {}, {} positions, {}\n| rows |", name, format, context, model.backend->name());
  for (const char* operation : kOperations) fmt::print(" {} |", operation);
  fmt::print(" step |\n|---|---|---|---|---|---|---|---|\n");
  for (std::size_t c = 0; c < kRowCounts.size(); ++c) {
    fmt::print("| {} |", kRowCounts[c]);
    for (auto& values : samples[c]) fmt::print(" {:.0f} |", median(values));
    fmt::print("\n");
  }
}

}  // namespace

int main(int argc, char** argv) try {
  run(argc > 1 ? argv[1] : "demo", argc > 2 ? argv[2] : "none",
      argc > 3 ? std::atoi(argv[3]) : 200);
  return 0;
} catch (const std::exception& error) {
  fmt::print(stderr, "step_bench: {}\n", error.what());
  return 1;
}
