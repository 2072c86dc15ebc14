#include "bench/model_access.h"

#include "base/error.h"
#include "base/mapped_file.h"
#include "model/resolve.h"
#include "model/synthetic.h"
#include "tokenizer/tokenizer.h"

namespace iol::bench {

BenchModel load_bench_model(const std::string& name, const std::optional<DType>& dtype) {
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
  }
  model.dtype = dtype.value_or(model.config.dtype);
  return model;
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
