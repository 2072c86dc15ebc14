#include "engine/engine.h"

#include <algorithm>

#include "base/cpu.h"
#include "base/error.h"
#include "engine/device_backend.h"
#include "engine/engine_loop.h"
#include "engine/loaded_model.h"
#include "model/memory_plan.h"

namespace iol {
namespace {

void check(const EngineConfig& config) {
  const auto at_least_one = [](std::string_view name, std::int64_t value) {
    if (value < 1) throw_input_error("{} is {}; expected at least 1", name, value);
  };
  at_least_one("max_batch", config.max_batch);
  at_least_one("max_step_tokens", config.max_step_tokens);
  at_least_one("block_size", config.block_size);
  if (config.block_size % 16 != 0) {
    throw_input_error("block_size is {}; expected a multiple of 16 tokens", config.block_size);
  }
}

std::int64_t kv_token_bytes(const LoadedModel& model) {
  return kv_bytes_per_token(model.config, model.kv_dtype);
}

std::int64_t activations_of(const EngineConfig& config, const LoadedModel& model) {
  return activation_bytes(model.device, transformer_shape(model.config), config.max_step_tokens,
                          std::min(config.max_batch, config.max_step_tokens), config.num_threads);
}

/// A GPU's memory has no other use; the host's has, and is taken by half at most.
std::int64_t affordable_cache_bytes(const EngineConfig& config, const LoadedModel& model) {
  const std::int64_t available = available_memory_bytes(model.device);
  if (model.device.kind != DeviceKind::kCuda) return available / 2;
  return std::max<std::int64_t>((available - activations_of(config, model)) / 10 * 9, 0);
}

/// Replaces every "choose for me" by the choice, now that the model is known.
void fill_defaults(EngineConfig& config, const LoadedModel& model) {
  const int model_context = model.config.max_position_embeddings;
  if (config.max_context > model_context) {
    throw_input_error("a context of {} positions; '{}' was made for {}", config.max_context,
                      config.model, model_context);
  }
  if (config.max_context <= 0) config.max_context = model_context;
  if (config.num_threads <= 0) config.num_threads = default_num_threads();
  config.device = model.device;
  config.dtype = model.dtype;
  config.kv_dtype = model.kv_dtype;
  config.quant = model.quant;
  if (config.kv_cache_tokens <= 0) {
    const std::int64_t wanted = std::int64_t{config.max_batch} * config.max_context;
    const std::int64_t affordable = affordable_cache_bytes(config, model) / kv_token_bytes(model);
    config.kv_cache_tokens =
        std::max<std::int64_t>(std::min(wanted, affordable), config.block_size);
  }
}

}  // namespace

std::unique_ptr<Engine> Engine::create(const EngineConfig& config) {
  check(config);
  LoadedModel model = load_model(config);
  EngineConfig filled = config;
  fill_defaults(filled, model);
  require_memory(model.device,
                 filled.kv_cache_tokens * kv_token_bytes(model) + activations_of(filled, model),
                 "the KV cache with the activations");
  return std::make_unique<EngineLoop>(std::move(filled), std::move(model));
}

}  // namespace iol
