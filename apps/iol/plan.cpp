// iol plan MODEL --context N --batch B: memory for weights, KV cache, activations and a draft
// model; sequences that fit.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "backend/kv_format.h"
#include "base/cpu.h"
#include "base/error.h"
#include "commands.h"
#include "engine/device_backend.h"
#include "engine/draft_model.h"
#include "engine/loaded_model.h"
#include "engine/speculation_limits.h"
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

/// What a model takes in a run, in bytes.
struct MemoryNeeds {
  std::int64_t weights = 0;
  std::int64_t kv_per_token = 0;
  std::int64_t kv_per_sequence = 0;
  std::int64_t kv = 0;
  std::int64_t activations = 0;

  [[nodiscard]] std::int64_t total() const { return weights + kv + activations; }
};

/// Of the model, of its draft model, and what there is.
struct MemoryPlan {
  MemoryNeeds model;
  std::optional<MemoryNeeds> draft;
  std::int64_t available = 0;

  [[nodiscard]] std::int64_t total() const { return model.total() + (draft ? draft->total() : 0); }
  [[nodiscard]] std::int64_t sequences_that_fit() const {
    const std::int64_t draft_kv = draft ? draft->kv : 0;
    const std::int64_t rest = available - (total() - model.kv - draft_kv);
    const std::int64_t each = model.kv_per_sequence + (draft ? draft->kv_per_sequence : 0);
    return std::max<std::int64_t>(rest / each, 0);
  }
};

/// Reads what there is to know without loading; `engine` takes over what quantized weights say.
ModelConfig read_config(const std::string& name, EngineConfig& engine) {
  const auto resolved = resolve_model(name);
  const bool is_quantized = !resolved.synthetic && (is_engine_directory(resolved.folder) ||
                                                    is_quantized_checkpoint(resolved.folder));
  if (is_quantized) adopt_weights(*open_weights(resolved.folder, engine.verify), engine);
  return load_model_config(resolved);
}

MemoryNeeds needs_of(const PlanOptions& options, const EngineConfig& engine,
                     const ModelConfig& config, DType dtype, int num_logit_rows) {
  const int num_threads = engine.num_threads > 0 ? engine.num_threads : default_num_threads();
  const std::int64_t blocks = (options.context + engine.block_size - 1) / engine.block_size;
  MemoryNeeds needs;
  needs.weights = weight_bytes(config, dtype, engine.quant, packing_of(engine.device));
  needs.kv_per_token = kv_bytes_per_token(config, engine.kv_dtype.value_or(dtype));
  needs.kv_per_sequence = blocks * engine.block_size * needs.kv_per_token;
  needs.kv = options.batch * needs.kv_per_sequence;
  needs.activations = activation_bytes(engine.device, transformer_shape(config),
                                       engine.max_step_tokens, num_logit_rows, num_threads);
  return needs;
}

/// In the dtype and the format of the KV cache of the model that it drafts for.
MemoryNeeds needs_of_draft(const PlanOptions& options, const EngineConfig& engine,
                           const ModelConfig& target, DType dtype) {
  const std::string& name = engine.speculation.model;
  const ResolvedModel resolved = resolve_model(name);
  const ResolvedModel target_resolved = resolve_model(options.model);
  EngineConfig own = engine;
  own.model = name;
  own.quant.format = own.quant.head = draft_format(engine.speculation);
  const ModelConfig config = read_config(name, own);
  check_draft_config(
      {name, resolved, config},
      {options.model, target_resolved.synthetic ? std::filesystem::path() : target_resolved.folder,
       target.vocab_size, options.context});
  return needs_of(options, own, config, dtype, std::min(options.batch, engine.max_step_tokens));
}

void print_text(const PlanOptions& options, const MemoryPlan& plan, const EngineConfig& engine,
                DType dtype) {
  const auto megabytes = [](std::int64_t bytes) { return static_cast<double>(bytes) / 1e6; };
  fmt::print("{}: {} sequences of {} tokens, {} on {}\n", options.model, options.batch,
             options.context, dtype_name(dtype), device_name(engine.device));
  fmt::print("  weights      {:10.1f} MB\n", megabytes(plan.model.weights));
  fmt::print("  KV cache     {:10.1f} MB   ({}, {:.1f} kB per token)\n", megabytes(plan.model.kv),
             kv_format_name(engine.kv_dtype.value_or(dtype)),
             static_cast<double>(plan.model.kv_per_token) / 1e3);
  fmt::print("  activations  {:10.1f} MB\n", megabytes(plan.model.activations));
  if (plan.draft) {
    fmt::print("  draft model  {:10.1f} MB   ({}: weights {:.1f} MB, KV cache {:.1f} MB)\n",
               megabytes(plan.draft->total()), engine.speculation.model,
               megabytes(plan.draft->weights), megabytes(plan.draft->kv));
  }
  fmt::print("  together     {:10.1f} MB of {:.1f} MB available\n", megabytes(plan.total()),
             megabytes(plan.available));
  fmt::print("  sequences of {} tokens that fit: {}\n", options.context, plan.sequences_that_fit());
}

void print_json(const PlanOptions& options, const MemoryPlan& plan, const EngineConfig& engine,
                DType dtype) {
  nlohmann::json result = {{"model", options.model},
                           {"device", device_name(engine.device)},
                           {"dtype", dtype_name(dtype)},
                           {"quant", weight_format_name(engine.quant.format)},
                           {"kv_cache", kv_format_name(engine.kv_dtype.value_or(dtype))},
                           {"context", options.context},
                           {"batch", options.batch},
                           {"weights_bytes", plan.model.weights},
                           {"kv_cache_bytes", plan.model.kv},
                           {"kv_bytes_per_token", plan.model.kv_per_token},
                           {"activations_bytes", plan.model.activations},
                           {"total_bytes", plan.total()},
                           {"available_bytes", plan.available},
                           {"fits", plan.total() <= plan.available},
                           {"sequences_that_fit", plan.sequences_that_fit()}};
  if (plan.draft) {
    result["draft"] = {{"model", engine.speculation.model},
                       {"weights_bytes", plan.draft->weights},
                       {"kv_cache_bytes", plan.draft->kv},
                       {"activations_bytes", plan.draft->activations}};
  }
  fmt::print("{}\n", result.dump());
}

void plan(PlanOptions& options) {
  EngineConfig engine = engine_config(options.engine, options.model);
  const ModelConfig config = read_config(options.model, engine);
  if (options.context == 0) options.context = config.max_position_embeddings;
  if (options.context > config.max_position_embeddings) {
    throw_input_error("--context {}: '{}' was made for {} positions", options.context,
                      options.model, config.max_position_embeddings);
  }
  engine.max_batch = options.batch;  // with drafts a step has more rows of logits
  const DType dtype = engine.dtype.value_or(config.dtype);
  MemoryPlan plan;
  plan.model = needs_of(options, engine, config, dtype, most_logit_rows(engine));
  if (!engine.speculation.model.empty())
    plan.draft = needs_of_draft(options, engine, config, dtype);
  plan.available = available_memory_bytes(engine.device);
  if (options.engine.common.json) {
    print_json(options, plan, engine, dtype);
  } else {
    print_text(options, plan, engine, dtype);
  }
}

}  // namespace

void add_plan_command(CLI::App& program) {
  auto options = std::make_shared<PlanOptions>();
  auto* command = program.add_subcommand(
      "plan", "Memory for weights, KV cache, activations and a draft model; what fits");
  command
      ->add_option("MODEL", options->model,
                   "folder, Hub id in the local cache, demo, or synthetic:NAME")
      ->required();
  command->add_option("--context", options->context, "tokens per sequence; 0: the model's context")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--batch", options->batch, "sequences at a time")
      ->check(CLI::Range(1, 1 << 20));
  add_engine_options(*command, options->engine);
  add_speculation_options(*command, options->engine);
  command->footer(
      "Examples:\n"
      "  iol plan demo --context 2048 --batch 64 --draft demo-draft\n"
      "  iol plan synthetic:llama-3.1-8b --context 8192 --batch 16 --json");
  command->callback([options] { plan(*options); });
}

}  // namespace iol::cli
