#include "engine_options.h"

#include "backend/kv_format.h"
#include "base/error.h"
#include "engine/device_backend.h"
#include "engine/preemption_check.h"
#include "model/resolve.h"
#include "quantization/manifest.h"
#include "quantization/quantized_checkpoint.h"

namespace iol::cli {
namespace {

std::optional<DType> compute_dtype(const std::string& value) {
  if (value == "auto") return std::nullopt;
  const auto dtype = parse_dtype(value);
  if (!dtype || (*dtype != DType::kF32 && *dtype != DType::kF16 && *dtype != DType::kBF16)) {
    throw_input_error("--dtype {}: expected auto, f32, f16 or bf16", value);
  }
  return dtype;
}

std::optional<DType> kv_dtype(const std::string& value) {
  if (value == "auto") return std::nullopt;
  const auto dtype = parse_kv_format(value);
  if (!dtype) {
    throw_input_error("--kv-cache {}: expected auto, bf16, f16, f32, int8 or fp8", value);
  }
  return dtype;
}

const std::vector<std::string> kFormatNames = {"none", "int8", "int8-wo", "fp8", "int4"};

SpeculationConfig speculation_config(const EngineOptions& options) {
  SpeculationConfig config;
  if (!options.draft.empty()) config = parse_draft(options.draft);
  if (!options.draft_depth.empty()) {
    if (!config.enabled()) {
      throw_input_error("--draft-depth {}: of whose drafts? Give --draft", options.draft_depth);
    }
    config.depth = parse_draft_depth(options.draft_depth);
  }
  config.quant = parse_draft_format(options.draft_quant);
  if (options.simulated_acceptance >= 0) config.simulated_acceptance = options.simulated_acceptance;
  validate(config);
  return config;
}

void take_preemption(const EngineOptions& options, EngineConfig& config) {
  if (options.preemption_mode == "swap") config.preemption = PreemptionMode::kSwap;
  if (options.swap_space_gib == 0) return;
  if (config.preemption != PreemptionMode::kSwap) {
    throw_input_error("--swap-space {}: nothing is swapped; give --preemption-mode swap",
                      options.swap_space_gib);
  }
  config.swap_space_bytes = static_cast<std::int64_t>(options.swap_space_gib * 0x1p30);
}

/// Leaving --quant out means "as it is"; saying none means unquantized.
void refuse_none_for_quantized(const EngineOptions& options, const std::string& model) {
  if (!options.quant_is_given || options.quant != "none") return;
  const auto resolved = resolve_model(model);
  if (resolved.synthetic) return;
  auto format = WeightFormat::kNone;
  if (is_engine_directory(resolved.folder)) {
    format = load_manifest(resolved.folder).quantization.format;
  } else if (is_quantized_checkpoint(resolved.folder)) {
    format = open_checkpoint(resolved.folder)->quantization().value().format;
  }
  if (format != WeightFormat::kNone) {
    throw_input_error("--quant none: '{}' holds {} weights; give the unquantized model", model,
                      weight_format_name(format));
  }
}

}  // namespace

void add_quantization_options(CLI::App& command, EngineOptions& options) {
  const std::string group = "Engine";
  command
      .add_option(
          "--quant", options.quant,
          "weights: none, int8 (W8A8), int8-wo (weights only), fp8 (E4M3), int4 (in groups)")
      ->check(CLI::IsMember(kFormatNames))
      ->each([&options](const std::string&) { options.quant_is_given = true; })
      ->capture_default_str()
      ->group(group);
  command
      .add_option("--quant-group", options.quant_group, "int4: weights that share a scale along K")
      ->check(CLI::IsMember({32, 64, 128}))
      ->capture_default_str()
      ->group(group);
  command
      .add_option("--quant-head", options.quant_head,
                  "format of the LM head (and of the embedding it is tied to)")
      ->check(CLI::IsMember(kFormatNames))
      ->capture_default_str()
      ->group(group);
  command
      .add_option("--quant-keep", options.quant_keep,
                  "leave tensors with one of these in their name unquantized: down_proj,layers.0.")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->group(group);
}

void add_speculation_options(CLI::App& command, EngineOptions& options) {
  const std::string group = "Engine";
  command
      .add_option("--draft", options.draft,
                  "speculative decoding: ngram (lookup in the request's own text), a smaller model "
                  "of the same vocabulary (demo-draft for demo), or both: ngram,MODEL")
      ->check([](const std::string& text) {
        return text.empty() ? "expected ngram, a draft model, or both as ngram,MODEL" : "";
      })
      ->group(group);
  command
      .add_option("--draft-depth", options.draft_depth,
                  "tokens drafted per step: auto (what pays, 0 included; default), or 0 to 16")
      ->group(group);
  command
      .add_option("--draft-quant", options.draft_quant,
                  "weights of the draft model, its LM head included: auto (as they are quantized, "
                  "else int8), none, int8, int8-wo, fp8 or int4; costs acceptance at most")
      ->capture_default_str()
      ->group(group);
}

void add_engine_options(CLI::App& command, EngineOptions& options) {
  add_common_options(command, options.common);
  const std::string group = "Engine";
  command
      .add_option("--dtype", options.dtype,
                  "weights and arithmetic: auto (the checkpoint's), bf16, f16 or f32")
      ->capture_default_str()
      ->group(group);
  add_quantization_options(command, options);
  command
      .add_option("--kv-cache", options.kv_cache,
                  "keys and values: auto (as --dtype), bf16, f16, f32, int8 or fp8")
      ->capture_default_str()
      ->group(group);
  command
      .add_flag("--verify", options.verify,
                "check the SHA-256 of an engine directory's weights before they are used")
      ->group(group);
  command.add_option("--scheduler", options.scheduler, "in-flight or static batching")
      ->check(CLI::IsMember({"in-flight", "static"}))
      ->capture_default_str()
      ->group(group);
  command.add_option("--kv-allocation", options.kv_allocation, "paged or contiguous KV cache")
      ->check(CLI::IsMember({"paged", "contiguous"}))
      ->capture_default_str()
      ->group(group);
  command
      .add_option("--prefix-cache", options.prefix_cache,
                  "reuse the KV of shared prefixes: on or off")
      ->check(CLI::IsMember({"on", "off"}))
      ->capture_default_str()
      ->group(group);
  command
      .add_option("--preemption-mode", options.preemption_mode,
                  "what becomes of the keys and values of a sequence whose blocks others need: "
                  "recompute, or on a GPU swap (to the host and back)")
      ->check(CLI::IsMember({"recompute", "swap"}))
      ->capture_default_str()
      ->group(group);
  command
      .add_option("--swap-space", options.swap_space_gib,
                  "GiB of the host's memory for --preemption-mode swap (default 4); what finds no "
                  "room is recomputed")
      ->check(CLI::Range(0.001, 65536.0))
      ->group(group);
  command
      .add_flag(
          "--deterministic", options.deterministic,
          "no token's bits depend on its batch; only Hopper GPUs need it, for steps of more than "
          "128 tokens (fp8: 64), which then take longer: under load an eighth in bf16, 60 % in fp8")
      ->group(group);
  command.add_option("--max-batch", options.max_batch, "sequences in a step")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str()
      ->group(group);
  command
      .add_option("--max-step-tokens", options.max_step_tokens,
                  "tokens in a step, prefill and decode together; 0: 512 on the CPU, 2048 on a GPU")
      ->check(CLI::Range(0, 65536))
      ->capture_default_str()
      ->group(group);
  command
      .add_option("--max-context", options.max_context,
                  "positions per sequence; 0: the model's own")
      ->check(CLI::NonNegativeNumber)
      ->group(group);
  command
      .add_option("--kv-cache-tokens", options.kv_cache_tokens,
                  "KV cache capacity in tokens; 0: as memory allows")
      ->check(CLI::NonNegativeNumber)
      ->group(group);
}

EngineConfig engine_config(const EngineOptions& options, const std::string& model) {
  refuse_none_for_quantized(options, model);
  EngineConfig config = engine_config(options.common);
  config.model = model;
  config.dtype = compute_dtype(options.dtype);
  config.kv_dtype = kv_dtype(options.kv_cache);
  config.quant = {parse_weight_format(options.quant).value(), options.quant_group,
                  parse_weight_format(options.quant_head).value(), options.quant_keep};
  config.verify = options.verify;
  config.max_batch = options.max_batch;
  config.max_step_tokens =
      options.max_step_tokens > 0 ? options.max_step_tokens : default_step_tokens(config.device);
  config.max_context = options.max_context;
  config.kv_cache_tokens = options.kv_cache_tokens;
  config.scheduler =
      options.scheduler == "static" ? SchedulerPolicy::kStatic : SchedulerPolicy::kInFlight;
  config.kv_allocation =
      options.kv_allocation == "contiguous" ? KvAllocation::kContiguous : KvAllocation::kPaged;
  config.prefix_cache = options.prefix_cache == "on";
  take_preemption(options, config);
  config.deterministic = options.deterministic;
  config.speculation = speculation_config(options);
  check_preemption(config);
  return config;
}

}  // namespace iol::cli
