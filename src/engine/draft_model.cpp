#include "engine/draft_model.h"

#include "base/error.h"
#include "engine/device_backend.h"
#include "model/resolve.h"

namespace iol {
namespace {

void refuse_target_itself(const ResolvedModel& draft, const LoadedModel& target,
                          const std::string& name) {
  const bool same_folder = !draft.synthetic && !target.synthetic &&
                           std::filesystem::equivalent(draft.folder, target.folder);
  const bool same_shape = draft.synthetic && target.synthetic && name == target.name;
  if (!same_folder && !same_shape) return;
  throw_input_error(
      "--draft {}: this is the model itself, which can't be faster than itself; name a smaller one "
      "of the same family",
      name);
}

void check_vocabulary(const ModelConfig& draft, const LoadedModel& target,
                      const std::string& name) {
  if (draft.vocab_size == target.config.vocab_size) return;
  throw_input_error(
      "--draft {}: its vocabulary has {} tokens, that of '{}' {}; name a model of the same family",
      name, draft.vocab_size, target.name, target.config.vocab_size);
}

void check_context(const ModelConfig& draft, int max_context, const std::string& name) {
  if (draft.max_position_embeddings >= max_context) return;
  throw_input_error(
      "--draft {}: it was made for {} positions, and sequences may have {}; lower --max-context, "
      "or name another draft",
      name, draft.max_position_embeddings, max_context);
}

/// Nothing for an id without a token, as padded vocabularies have.
std::optional<std::string> spelling(const Tokenizer& tokenizer, std::int32_t id) {
  if (id >= tokenizer.vocab_size()) return std::nullopt;
  try {
    return tokenizer.token(id);
  } catch (const InputError&) {
    return std::nullopt;
  }
}

/// Ids must mean the same to both; how text becomes ids is the target's affair alone.
void check_tokenizer(const Tokenizer* draft, const LoadedModel& target, const std::string& name) {
  const Tokenizer* own = target.tokenizer.get();
  if (draft == nullptr && own == nullptr) return;
  if (draft == nullptr || own == nullptr) {
    throw_input_error("--draft {}: '{}' has no tokenizer to compare with the other's", name,
                      draft == nullptr ? name : target.name);
  }
  for (std::int32_t id = 0; id < target.config.vocab_size; ++id) {
    if (spelling(*draft, id) == spelling(*own, id)) continue;
    throw_input_error(
        "--draft {}: its tokenizer is another one than that of '{}' (token {} differs); name a "
        "model of the same family",
        name, target.name, id);
  }
}

/// An engine directory's own. What a draft model is quantized to changes no token, so its head is
/// not spared.
Quantization quantization_of(const WeightSource& source, WeightFormat asked,
                             const std::string& name) {
  if (const auto built = source.quantization()) {
    if (asked != WeightFormat::kNone && asked != built->format) {
      throw_input_error("--draft-quant {}: '{}' holds {} weights; leave it out",
                        weight_format_name(asked), name, weight_format_name(built->format));
    }
    return *built;
  }
  Quantization quant;
  quant.format = quant.head = asked;
  return quant;
}

}  // namespace

DraftModel load_draft_model(const EngineConfig& config, const LoadedModel& target) {
  const std::string& name = config.speculation.model;
  const ResolvedModel resolved = resolve_model(name);
  refuse_target_itself(resolved, target, name);
  DraftModel draft;
  draft.name = name;
  draft.config = load_model_config(resolved);
  check_vocabulary(draft.config, target, name);
  check_context(draft.config, config.max_context, name);
  check_tokenizer(load_tokenizer_of(resolved).get(), target, name);
  const auto source = open_weights_of(resolved, draft.config, config.seed, config.verify);
  draft.kv_dtype = target.kv_dtype;
  draft.quant = quantization_of(*source, config.speculation.quant, name);
  require_weight_memory(name, draft.config, target.dtype, draft.quant, target.device);
  draft.weights = load_weights(draft.config, *source, *target.backend, draft.quant);
  return draft;
}

}  // namespace iol
