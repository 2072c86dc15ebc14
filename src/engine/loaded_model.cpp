#include "engine/loaded_model.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/mapped_file.h"
#include "engine/device_backend.h"
#include "model/memory_plan.h"
#include "model/resolve.h"
#include "model/synthetic.h"
#include "quantization/engine_directory.h"
#include "quantization/quantized_checkpoint.h"

namespace iol {
namespace {

/// `--quant FORMAT` of a checkpoint that is in this format, whatever else its settings are.
bool names_the_format_alone(const Quantization& asked, const Quantization& held) {
  const bool has_own_group =
      asked.group_size != kDefaultGroupSize && asked.group_size != held.group_size;
  return asked.format == held.format && asked.head == WeightFormat::kNone && asked.keep.empty() &&
         (!has_own_group || !traits_of(held.format).grouped);
}

}  // namespace

void adopt_weights(const WeightSource& source, EngineConfig& config) {
  const auto* directory = dynamic_cast<const EngineDirectory*>(&source);
  if (directory != nullptr && !config.kv_dtype) config.kv_dtype = directory->manifest().kv_dtype;
  const auto built = source.quantization();
  if (!built) return;
  Quantization asked = config.quant;
  if (!traits_of(asked.format).grouped && !traits_of(asked.head).grouped)
    asked.group_size = built->group_size;
  Quantization nothing;
  nothing.group_size = asked.group_size;
  const bool is_checkpoint = dynamic_cast<const QuantizedCheckpoint*>(&source) != nullptr;
  if (is_checkpoint && names_the_format_alone(asked, *built)) asked = *built;
  if (asked != nothing && asked != *built) {
    throw_input_error(
        "'{}' holds {} weights; leave out --quant and its companions, or give the unquantized "
        "model",
        config.model, weight_format_name(built->format));
  }
  config.quant = *built;
}

std::unique_ptr<WeightSource> open_weights_of(const ResolvedModel& resolved,
                                              const ModelConfig& config, std::uint64_t seed,
                                              bool verify) {
  return resolved.synthetic ? make_synthetic_weights(config, seed)
                            : open_weights(resolved.folder, verify);
}

std::unique_ptr<Tokenizer> load_tokenizer_of(const ResolvedModel& resolved) {
  const bool has_tokenizer = path_exists(resolved.folder / "tokenizer.json") ||
                             path_exists(resolved.folder / "tokenizer.model");
  if (resolved.synthetic || !has_tokenizer) return nullptr;
  return Tokenizer::load(resolved.folder);
}

/// "with --quant int8 it needs 1.24 GB; " for the formats that would do; empty when none would.
std::string formats_that_fit(const ModelConfig& config, DType dtype, const Device& device) {
  const std::int64_t available = available_memory_bytes(device);
  std::string text;
  for (const auto& traits : kWeightFormats) {
    Quantization quant;
    quant.format = traits.format;
    const std::int64_t bytes = weight_bytes(config, dtype, quant, packing_of(device));
    if (bytes > available) continue;
    text += fmt::format("{} {} {:.2f} GB", text.empty() ? "it needs with --quant" : ",",
                        weight_format_name(traits.format), static_cast<double>(bytes) / 1e9);
  }
  return text.empty() ? "no format of it fits; " : text + "; ";
}

void require_weight_memory(const std::string& name, const ModelConfig& config, DType dtype,
                           const Quantization& quant, const Device& device) {
  const std::int64_t bytes = weight_bytes(config, dtype, quant, packing_of(device));
  require_memory(
      device, bytes,
      fmt::format("'{}' in {}", name,
                  quant.format == WeightFormat::kNone ? dtype_name(dtype)
                                                      : weight_format_name(quant.format)),
      [&] { return formats_that_fit(config, dtype, device); });
}

Device device_of(const EngineConfig& config) {
  // Who names CPU kernels wants the CPU.
  const bool names_cpu = config.device.kind == DeviceKind::kAuto && config.isa.has_value();
  return names_cpu ? Device{DeviceKind::kCpu, 0} : resolve_device(config.device);
}

LoadedModel load_model(const EngineConfig& asked, const LoadProgress& progress) {
  EngineConfig config = asked;
  config.device = device_of(asked);
  const ResolvedModel resolved = resolve_model(config.model);
  LoadedModel model;
  model.name = config.model;
  model.folder = resolved.folder;
  model.synthetic = resolved.synthetic.has_value();
  model.config = load_model_config(resolved);
  const auto source = open_weights_of(resolved, model.config, config.seed, config.verify);
  adopt_weights(*source, config);
  model.quant = config.quant;
  model.dtype = config.dtype.value_or(model.config.dtype);
  model.kv_dtype = config.kv_dtype.value_or(model.dtype);
  model.device = config.device;
  model.backend = make_backend(
      {config.device, config.isa, config.num_threads, model.dtype, config.deterministic});
  require_weight_memory(config.model, model.config, model.dtype, model.quant, config.device);
  model.tokenizer = load_tokenizer_of(resolved);
  model.weights = load_weights(model.config, *source, *model.backend, model.quant, progress);
  return model;
}

}  // namespace iol
