#pragma once
#include <memory>
#include <string>

#include "backend/backend.h"
#include "engine/engine.h"
#include "model/config.h"
#include "model/weights.h"
#include "tokenizer/tokenizer.h"

namespace iol {

/// A model ready to run: its configuration, its weights on a backend, and its tokenizer.
struct LoadedModel {
  std::string name;  // as asked for
  bool synthetic = false;
  ModelConfig config;
  DType dtype = DType::kBF16;
  DType kv_dtype = DType::kBF16;  // of the caches made for it
  std::unique_ptr<Backend> backend;
  ModelWeights weights;
  std::unique_ptr<Tokenizer> tokenizer;  // null where there is none (synthetic models)
};

/// Resolves, checks and loads config.model. Asks for the memory before it takes it.
/// Throws InputError for a bad model, ResourceError when the weights don't fit.
LoadedModel load_model(const EngineConfig& config, const LoadProgress& progress = {});

}  // namespace iol
