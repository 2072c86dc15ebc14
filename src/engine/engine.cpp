#include "engine/engine.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/cpu.h"
#include "base/error.h"
#include "engine/device_backend.h"
#include "engine/draft_model.h"
#include "engine/engine_loop.h"
#include "engine/loaded_model.h"
#include "engine/preemption_check.h"
#include "engine/speculation_limits.h"
#include "model/memory_plan.h"

namespace iol {
namespace {

void check(const EngineConfig& config) {
  const auto at_least_one = [](std::string_view name, std::int64_t value) {
    if (value < 1) throw_input_error("{} is {}; expected at least 1", name, value);
  };
  at_least_one("max_batch", config.max_batch);
  if (config.max_step_tokens != 0) at_least_one("max_step_tokens", config.max_step_tokens);
  at_least_one("block_size", config.block_size);
  if (config.block_size % 16 != 0) {
    throw_input_error("block_size is {}; expected a multiple of 16 tokens", config.block_size);
  }
  validate(config.speculation);
}

/// Of both models: a draft model's cache has room for the same tokens.
std::int64_t kv_token_bytes(const LoadedModel& model, const std::optional<DraftModel>& draft) {
  const std::int64_t bytes = kv_bytes_per_token(model.config, model.kv_dtype);
  return draft ? bytes + kv_bytes_per_token(draft->config, draft->kv_dtype) : bytes;
}

std::int64_t activations_of(const EngineConfig& config, const LoadedModel& model,
                            const std::optional<DraftModel>& draft) {
  const std::int64_t bytes =
      activation_bytes(model.device, transformer_shape(model.config), config.max_step_tokens,
                       most_logit_rows(config), config.num_threads);
  if (!draft) return bytes;
  return bytes +
         activation_bytes(model.device, transformer_shape(draft->config), config.max_step_tokens,
                          std::min(config.max_batch, config.max_step_tokens), config.num_threads);
}

/// A GPU's memory has no other use; the host's has, and is taken by half at most.
std::int64_t affordable_cache_bytes(const EngineConfig& config, const LoadedModel& model,
                                    const std::optional<DraftModel>& draft) {
  const std::int64_t available = available_memory_bytes(model.device);
  if (model.device.kind != DeviceKind::kCuda) return available / 2;
  return std::max<std::int64_t>((available - activations_of(config, model, draft)) / 10 * 9, 0);
}

/// Replaces every "choose for me" by the choice, now that the model is known; but for the cache.
void fill_defaults(EngineConfig& config, const LoadedModel& model) {
  const int model_context = model.config.max_position_embeddings;
  if (config.max_context > model_context) {
    throw_input_error("a context of {} positions; '{}' was made for {}", config.max_context,
                      config.model, model_context);
  }
  if (config.max_context <= 0) config.max_context = model_context;
  if (config.num_threads <= 0) config.num_threads = default_num_threads();
  config.device = model.device;
  if (config.max_step_tokens == 0) config.max_step_tokens = default_step_tokens(model.device);
  config.dtype = model.dtype;
  config.kv_dtype = model.kv_dtype;
  config.quant = model.quant;
}

void fill_cache_size(EngineConfig& config, const LoadedModel& model,
                     const std::optional<DraftModel>& draft) {
  if (config.kv_cache_tokens > 0) return;
  const std::int64_t wanted = std::int64_t{config.max_batch} * config.max_context;
  const std::int64_t affordable =
      affordable_cache_bytes(config, model, draft) / kv_token_bytes(model, draft);
  config.kv_cache_tokens = std::max<std::int64_t>(std::min(wanted, affordable), config.block_size);
}

/// What of keys and values fits beside the activations, when not all that was asked for does.
std::string cache_that_fits(const EngineConfig& config, const LoadedModel& model,
                            const std::optional<DraftModel>& draft) {
  const std::int64_t activations = activations_of(config, model, draft);
  const std::int64_t rest = available_memory_bytes(model.device) - activations;
  const std::int64_t num_tokens =
      rest / kv_token_bytes(model, draft) / config.block_size * config.block_size;
  if (rest <= 0 || num_tokens == 0) {
    return fmt::format(
        "activations alone take {:.2f} GB, which fewer --max-batch and --max-step-tokens lower; ",
        static_cast<double>(activations) / 1e9);
  }
  const std::string_view halved =
      is_quantized_kv(model.kv_dtype) ? "" : ", about twice as many with --kv-cache fp8";
  return fmt::format("{} tokens fit (--kv-cache-tokens{}); ", num_tokens, halved);
}

}  // namespace

std::unique_ptr<Engine> Engine::create(const EngineConfig& config) {
  check(config);
  check_preemption(config);
  LoadedModel model = load_model(config);
  EngineConfig filled = config;
  fill_defaults(filled, model);
  std::optional<DraftModel> draft;
  if (!config.speculation.model.empty()) draft = load_draft_model(filled, model);
  fill_cache_size(filled, model, draft);
  require_memory(
      model.device,
      filled.kv_cache_tokens * kv_token_bytes(model, draft) + activations_of(filled, model, draft),
      draft ? "the KV caches of both models with the activations"
            : "the KV cache with the activations",
      [&] { return cache_that_fits(filled, model, draft); });
  return std::make_unique<EngineLoop>(std::move(filled), std::move(model), std::move(draft));
}

}  // namespace iol
