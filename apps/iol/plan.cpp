// iol plan MODEL --context N --batch B: memory for weights, KV cache and activations; sequences
// that fit.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "backend/kv_format.h"
#include "base/cpu.h"
#include "base/error.h"
#include "commands.h"
#include "engine/device_backend.h"
#include "engine/loaded_model.h"
#include "engine_options.h"
#include "model/memory_plan.h"
#include "model/resolve.h"
#include "model/weights.h"
#include "quantization/engine_directory.h"
#include "quantization/quantized_checkpoint.h"

namespace iol::cli {
namespace {

struct PlanOptions {
  EngineOptions engine;
  std::string model;
  int context = 0;
  int batch = 1;
};

/// What a run takes, in bytes.
struct MemoryNeeds {
  std::int64_t weights = 0;
  std::int64_t kv_per_token = 0;
  std::int64_t kv = 0;
  std::int64_t activations = 0;
  std::int64_t available = 0;

  [[nodiscard]] std::int64_t total() const { return weights + kv + activations; }
};

/// Reads what there is to know without loading; `engine` takes over what quantized weights say.
ModelConfig read_config(const std::string& name, EngineConfig& engine) {
  const auto resolved = resolve_model(name);
  const bool is_quantized = !resolved.synthetic && (is_engine_directory(resolved.folder) ||
                                                    is_quantized_checkpoint(resolved.folder));
  if (is_quantized) adopt_weights(*open_weights(resolved.folder, engine.verify), engine);
  return load_model_config(resolved);
}

void print_text(const PlanOptions& options, const MemoryNeeds& needs, DType dtype, DType kv_dtype,
                const Device& device, std::int64_t sequences) {
  const auto megabytes = [](std::int64_t bytes) { return static_cast<double>(bytes) / 1e6; };
  fmt::print("{}: {} sequences of {} tokens, {} on {}\n", options.model, options.batch,
             options.context, dtype_name(dtype), device_name(device));
  fmt::print("  weights      {:10.1f} MB\n", megabytes(needs.weights));
  fmt::print("  KV cache     {:10.1f} MB   ({}, {:.1f} kB per token)\n", megabytes(needs.kv),
             kv_format_name(kv_dtype), static_cast<double>(needs.kv_per_token) / 1e3);
  fmt::print("  activations  {:10.1f} MB\n", megabytes(needs.activations));
  fmt::print("  together     {:10.1f} MB of {:.1f} MB available\n", megabytes(needs.total()),
             megabytes(needs.available));
  fmt::print("  sequences of {} tokens that fit: {}\n", options.context, sequences);
}

void plan(PlanOptions& options) {
  EngineConfig engine = engine_config(options.engine, options.model);
  const ModelConfig config = read_config(options.model, engine);
  if (options.context == 0) options.context = config.max_position_embeddings;
  if (options.context > config.max_position_embeddings) {
    throw_input_error("--context {}: '{}' was made for {} positions", options.context,
                      options.model, config.max_position_embeddings);
  }
  const DType dtype = engine.dtype.value_or(config.dtype);
  const int num_threads = engine.num_threads > 0 ? engine.num_threads : default_num_threads();
  const std::int64_t blocks = (options.context + engine.block_size - 1) / engine.block_size;
  MemoryNeeds needs;
  needs.weights = weight_bytes(config, dtype, engine.quant, packing_of(engine.device));
  const DType kv_dtype = engine.kv_dtype.value_or(dtype);
  needs.kv_per_token = kv_bytes_per_token(config, kv_dtype);
  const std::int64_t kv_per_sequence = blocks * engine.block_size * needs.kv_per_token;
  needs.kv = options.batch * kv_per_sequence;
  needs.activations =
      activation_bytes(engine.device, transformer_shape(config), engine.max_step_tokens,
                       std::min(options.batch, engine.max_step_tokens), num_threads);
  needs.available = available_memory_bytes(engine.device);
  const std::int64_t rest = needs.available - needs.weights - needs.activations;
  const std::int64_t sequences = std::max<std::int64_t>(rest / kv_per_sequence, 0);
  if (options.engine.common.json) {
    fmt::print("{}\n", nlohmann::json{{"model", options.model},
                                      {"device", device_name(engine.device)},
                                      {"dtype", dtype_name(dtype)},
                                      {"quant", weight_format_name(engine.quant.format)},
                                      {"kv_cache", kv_format_name(kv_dtype)},
                                      {"context", options.context},
                                      {"batch", options.batch},
                                      {"weights_bytes", needs.weights},
                                      {"kv_cache_bytes", needs.kv},
                                      {"kv_bytes_per_token", needs.kv_per_token},
                                      {"activations_bytes", needs.activations},
                                      {"total_bytes", needs.total()},
                                      {"available_bytes", needs.available},
                                      {"fits", needs.total() <= needs.available},
                                      {"sequences_that_fit", sequences}}
                           .dump());
  } else {
    print_text(options, needs, dtype, kv_dtype, engine.device, sequences);
  }
}

}  // namespace

void add_plan_command(CLI::App& program) {
  auto options = std::make_shared<PlanOptions>();
  auto* command =
      program.add_subcommand("plan", "Memory for weights, KV cache and activations; what fits");
  command
      ->add_option("MODEL", options->model,
                   "folder, Hub id in the local cache, demo, or synthetic:NAME")
      ->required();
  command->add_option("--context", options->context, "tokens per sequence; 0: the model's context")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--batch", options->batch, "sequences at a time")
      ->check(CLI::Range(1, 1 << 20));
  add_engine_options(*command, options->engine);
  command->footer(
      "Examples:\n"
      "  iol plan demo --context 2048 --batch 64\n"
      "  iol plan synthetic:llama-3.1-8b --context 8192 --batch 16 --json");
  command->callback([options] { plan(*options); });
}

}  // namespace iol::cli
