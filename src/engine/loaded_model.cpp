#include "engine/loaded_model.h"

#include <fmt/format.h>

#include "backend/cpu/cpu_backend.h"
#include "base/mapped_file.h"
#include "engine/memory_check.h"
#include "model/checkpoint.h"
#include "model/memory_plan.h"
#include "model/resolve.h"
#include "model/synthetic.h"

namespace iol {

LoadedModel load_model(const EngineConfig& config, const LoadProgress& progress) {
  const ResolvedModel resolved = resolve_model(config.model);
  LoadedModel model;
  model.name = config.model;
  model.synthetic = resolved.synthetic.has_value();
  model.config =
      model.synthetic ? synthetic_config(*resolved.synthetic) : load_model_config(resolved.folder);
  model.dtype = config.dtype.value_or(model.config.dtype);
  model.kv_dtype = config.kv_dtype.value_or(model.dtype);
  model.backend = make_cpu_backend({config.isa, config.num_threads, model.dtype});
  require_memory(weight_bytes(model.config, model.dtype, config.quant),
                 fmt::format("'{}' in {}", config.model,
                             config.quant.format == WeightFormat::kNone
                                 ? dtype_name(model.dtype)
                                 : weight_format_name(config.quant.format)));

  std::unique_ptr<WeightSource> source;
  if (model.synthetic) {
    source = make_synthetic_weights(model.config, config.seed);
  } else {
    source = std::make_unique<Checkpoint>(resolved.folder);
    const bool has_tokenizer = path_exists(resolved.folder / "tokenizer.json") ||
                               path_exists(resolved.folder / "tokenizer.model");
    if (has_tokenizer) model.tokenizer = Tokenizer::load(resolved.folder);
  }
  model.weights = load_weights(model.config, *source, *model.backend, config.quant, progress);
  return model;
}

}  // namespace iol
