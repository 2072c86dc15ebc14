#include "model/transformer.h"

#include <algorithm>

namespace iol {
namespace {

void run_operations(const ModelConfig& config, const ModelWeights& weights, Backend& backend,
                    Activations& activations, KvCache& cache, const StepInput& input) {
  backend.embed(activations, input, *weights.embedding);
  for (int i = 0; i < config.num_layers; ++i) {
    const auto layer = static_cast<std::size_t>(i);
    backend.project_qkv(activations, input, weights.layers[layer], cache, i);
    backend.attend(activations, input, cache, i, config.sliding_window[layer]);
    backend.project_output(activations, input, weights.layers[layer]);
    backend.feed_forward(activations, input, weights.layers[layer]);
  }
  backend.project_logits(activations, input, *weights.final_norm, weights.output_head());
}

}  // namespace

void begin_forward(const ModelConfig& config, const ModelWeights& weights, Backend& backend,
                   Activations& activations, KvCache& cache, const StepInput& input) {
  backend.run_step(activations, input, &weights, cache,
                   [&] { run_operations(config, weights, backend, activations, cache, input); });
}

void forward(const ModelConfig& config, const ModelWeights& weights, Backend& backend,
             Activations& activations, KvCache& cache, const StepInput& input) {
  begin_forward(config, weights, backend, activations, cache, input);
  backend.finish_step(activations);
}

void prepare_forward(const ModelConfig& config, const ModelWeights& weights, Backend& backend,
                     Activations& activations, KvCache& cache, StepLimits limits) {
  constexpr int kPreparedPositions = 512;
  limits.num_positions = std::min(limits.num_positions, kPreparedPositions);
  backend.prepare_steps(activations, limits, &weights, cache,
                        [&] { run_operations(config, weights, backend, activations, cache, {}); });
}

}  // namespace iol
