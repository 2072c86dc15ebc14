#include "engine/draft_model.h"

#include "base/error.h"
#include "engine/device_backend.h"
#include "model/resolve.h"

namespace iol {
namespace {

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
Quantization quantization_of(const WeightSource& source, const SpeculationConfig& speculation) {
  if (const auto built = source.quantization()) {
    if (speculation.quant && *speculation.quant != built->format) {
      throw_input_error("--draft-quant {}: '{}' holds {} weights; leave it out",
                        weight_format_name(*speculation.quant), speculation.model,
                        weight_format_name(built->format));
    }
    return *built;
  }
  Quantization quant;
  quant.format = quant.head = draft_format(speculation);
  return quant;
}

}  // namespace

void check_draft_config(const DraftCandidate& draft, const DraftTarget& target) {
  const std::string& name = draft.name;
  const bool same_folder = !draft.resolved.synthetic && !target.folder.empty() &&
                           std::filesystem::equivalent(draft.resolved.folder, target.folder);
  if (same_folder || (draft.resolved.synthetic && name == target.name)) {
    throw_input_error(
        "--draft {}: this is the model itself, which can't be faster than itself; name a smaller "
        "one of the same family",
        name);
  }
  if (draft.config.vocab_size != target.vocab_size) {
    throw_input_error(
        "--draft {}: its vocabulary has {} tokens, that of '{}' {}; name a model of the same "
        "family",
        name, draft.config.vocab_size, target.name, target.vocab_size);
  }
  if (draft.config.max_position_embeddings < target.max_context) {
    throw_input_error(
        "--draft {}: it was made for {} positions, and sequences may have {}; lower --max-context, "
        "or name another draft",
        name, draft.config.max_position_embeddings, target.max_context);
  }
}

DraftModel load_draft_model(const EngineConfig& config, const LoadedModel& target) {
  const std::string& name = config.speculation.model;
  const ResolvedModel resolved = resolve_model(name);
  DraftModel draft;
  draft.name = name;
  draft.config = load_model_config(resolved);
  check_draft_config({name, resolved, draft.config},
                     {target.name, target.synthetic ? std::filesystem::path() : target.folder,
                      target.config.vocab_size, config.max_context});
  check_tokenizer(load_tokenizer_of(resolved).get(), target, name);
  const auto source = open_weights_of(resolved, draft.config, config.seed, config.verify);
  draft.kv_dtype = target.kv_dtype;
  draft.quant = quantization_of(*source, config.speculation);
  require_weight_memory(name, draft.config, target.dtype, draft.quant, target.device);
  draft.weights = load_weights(draft.config, *source, *target.backend, draft.quant);
  return draft;
}

}  // namespace iol
