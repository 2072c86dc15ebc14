#include "bench/model_access.h"

#include "base/error.h"
#include "base/mapped_file.h"
#include "engine/loaded_model.h"
#include "model/resolve.h"
#include "model/synthetic.h"
#include "quantization/engine_directory.h"
#include "quantization/quantized_checkpoint.h"
#include "tokenizer/tokenizer.h"

namespace iol::bench {
namespace {

/// Where the source of an engine directory is, if it is still what it was by its sizes.
void find_source(const Manifest& manifest, BuiltFrom& built) {
  const std::filesystem::path folder = manifest.source_folder;
  for (const auto& file : manifest.source_files) {
    std::error_code error;
    const auto size = std::filesystem::file_size(folder / file.name, error);
    if (error || size != static_cast<std::uintmax_t>(file.size_bytes)) {
      built.missing = fmt::format(
          "the model that it was built from ('{}' in {}) is not there any more, or has changed",
          manifest.source_model, manifest.source_folder);
      return;
    }
  }
  built.folder = folder;
}

BuiltFrom read_built_from(const std::string& name, const std::filesystem::path& folder,
                          EngineConfig engine) {
  const EngineDirectory directory(folder, engine.verify);
  engine.model = name;
  adopt_weights(directory, engine);
  BuiltFrom built{"an engine directory", engine.quant, engine.kv_dtype, {}, {}};
  find_source(directory.manifest(), built);
  return built;
}

BuiltFrom read_quantized_checkpoint(const std::string& name, const std::filesystem::path& folder,
                                    EngineConfig engine) {
  engine.model = name;
  adopt_weights(*open_weights(folder, engine.verify), engine);
  return {"a quantized checkpoint",
          engine.quant,
          engine.kv_dtype,
          {},
          "a checkpoint that is quantized already does not say where the unquantized one is"};
}

}  // namespace

BenchModel load_bench_model(const std::string& name, const EngineConfig& engine) {
  const ResolvedModel resolved = resolve_model(name);
  BenchModel model;
  model.name = name;
  if (resolved.synthetic) {
    model.config = synthetic_config(*resolved.synthetic);
    model.hash = "shape:" + *resolved.synthetic;
  } else {
    model.folder = std::filesystem::canonical(resolved.folder);
    model.config = load_model_config(resolved.folder);
    model.hash = hash_model_files(resolved.folder);
    if (is_engine_directory(resolved.folder))
      model.built_from = read_built_from(name, resolved.folder, engine);
    else if (is_quantized_checkpoint(resolved.folder))
      model.built_from = read_quantized_checkpoint(name, resolved.folder, engine);
  }
  model.dtype = engine.dtype.value_or(model.config.dtype);
  return model;
}

std::unique_ptr<Tokenizer> load_tokenizer(const BenchModel& model) {
  return model.synthetic() ? nullptr : Tokenizer::load(*model.folder);
}

PromptSource load_prompt_source(const BenchModel& model) {
  if (model.synthetic()) return PromptSource::random_ids(model.config.vocab_size);
  const auto text_path = find_shipped("heldout.txt");
  if (!text_path) {
    throw_input_error(
        "heldout.txt was not found beside the program; set IOL_MODELS_DIR to the folder that holds "
        "it");
  }
  const MappedFile text(*text_path);
  const auto tokens =
      Tokenizer::load(*model.folder)
          ->encode({reinterpret_cast<const char*>(text.bytes().data()), text.bytes().size()},
                   /*add_special_tokens=*/false);
  return PromptSource::from_text(tokens);
}

}  // namespace iol::bench
