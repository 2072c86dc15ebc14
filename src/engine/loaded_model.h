#pragma once
#include <filesystem>
#include <memory>
#include <string>

#include "backend/backend.h"
#include "engine/engine.h"
#include "model/config.h"
#include "model/resolve.h"
#include "model/weight_source.h"
#include "model/weights.h"
#include "tokenizer/tokenizer.h"

namespace iol {

/// A model ready to run: its configuration, its weights on a backend, and its tokenizer.
struct LoadedModel {
  std::string name;              // as asked for
  std::filesystem::path folder;  // empty for synthetic models
  bool synthetic = false;
  ModelConfig config;
  Device device;  // resolved
  DType dtype = DType::kBF16;
  DType kv_dtype = DType::kBF16;  // as asked for, an engine directory's default, or as dtype
  Quantization quant;             // as the weights are
  std::unique_ptr<Backend> backend;
  ModelWeights weights;
  std::unique_ptr<Tokenizer> tokenizer;  // null where there is none (synthetic models)
};

/// Takes over what a source of weights says: how it is quantized, and of an engine directory the
/// default format of its KV cache. Throws InputError when `config` asks for another quantization.
void adopt_weights(const WeightSource& source, EngineConfig& config);

/// The device that `config` means, resolved. Throws InputError when it can't be used.
Device device_of(const EngineConfig& config);

/// Resolves, checks and loads asked.model. Asks for the memory before it takes it.
/// Throws InputError for a bad model, ResourceError when the weights don't fit.
LoadedModel load_model(const EngineConfig& asked, const LoadProgress& progress = {});

/// Drawn from `seed` for synthetic models; else the folder's, their hashes checked with `verify`.
std::unique_ptr<WeightSource> open_weights_of(const ResolvedModel& resolved,
                                              const ModelConfig& config, std::uint64_t seed,
                                              bool verify);

/// Null for synthetic models and folders without one.
std::unique_ptr<Tokenizer> load_tokenizer_of(const ResolvedModel& resolved);

/// Throws ResourceError when the weights don't fit.
void require_weight_memory(const std::string& name, const ModelConfig& config, DType dtype,
                           const Quantization& quant, const Device& device);

}  // namespace iol
