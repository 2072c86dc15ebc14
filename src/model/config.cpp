#include "model/config.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/mapped_file.h"
#include "model/architecture.h"
#include "model/json_fields.h"

namespace iol {
namespace {

using nlohmann::json;

// Beyond any published model, and small enough that no product of two overflows.
constexpr std::int64_t kMostLayers = 1000;
constexpr std::int64_t kMostWidth = 1 << 20;
constexpr std::int64_t kMostVocabulary = 1 << 24;
constexpr std::int64_t kMostPositions = 1 << 28;

json parse_object(std::string_view text, const std::string& origin) {
  json object = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (object.is_discarded() || !object.is_object()) {
    throw_input_error("{}: not a JSON object; the file is broken or truncated", origin);
  }
  return object;
}

const Architecture& architecture_of(const JsonFields& fields) {
  const auto names = fields.strings("architectures");
  if (!names || names->empty()) fields.refuse("architectures", "a list with one name");
  const Architecture* architecture = find_architecture(names->front());
  if (architecture == nullptr) {
    std::vector<std::string_view> known;
    for (const auto& row : known_architectures()) known.push_back(row.name);
    throw_input_error("{}: architecture '{}' is not supported; known: {}", fields.origin(),
                      shown_name(names->front()), fmt::join(known, ", "));
  }
  return *architecture;
}

bool has_bias(Architecture::Bias bias, bool configured) {
  return bias == Architecture::Bias::kAlways ||
         (bias == Architecture::Bias::kAsConfigured && configured);
}

RopeConfig::Type rope_type(const JsonFields& scaling) {
  const auto type = scaling.has("rope_type") ? scaling.string("rope_type") : scaling.string("type");
  if (!type || *type == "default") return RopeConfig::Type::kDefault;
  if (*type == "linear") return RopeConfig::Type::kLinear;
  if (*type == "dynamic") return RopeConfig::Type::kDynamic;
  if (*type == "llama3") return RopeConfig::Type::kLlama3;
  if (*type == "yarn") return RopeConfig::Type::kYarn;
  scaling.refuse(scaling.has("rope_type") ? "rope_type" : "type",
                 "default, linear, dynamic, llama3 or yarn");
}

void read_rope_scaling(const JsonFields& scaling, RopeConfig& rope) {
  rope.type = rope_type(scaling);
  if (const auto partial = scaling.number("partial_rotary_factor", 0, 1);
      partial && *partial != 1.0) {
    scaling.refuse("partial_rotary_factor", "1 (all dimensions are rotated)");
  }
  if (rope.type == RopeConfig::Type::kDefault) return;
  constexpr double kMostFactor = 1e6;
  const auto factor = scaling.number("factor", 1e-6, kMostFactor);
  if (!factor) scaling.refuse("factor", "a number");
  rope.factor = *factor;
  rope.original_max_position_embeddings = static_cast<int>(
      scaling.integer("original_max_position_embeddings", 1, kMostPositions).value_or(0));
  if (rope.type == RopeConfig::Type::kLlama3) {
    if (rope.original_max_position_embeddings == 0) {
      scaling.refuse("original_max_position_embeddings", "a number of positions");
    }
    rope.low_freq_factor = scaling.number("low_freq_factor", 1e-6, kMostFactor).value_or(1.0);
    rope.high_freq_factor = scaling.number("high_freq_factor", 1e-6, kMostFactor).value_or(4.0);
    if (rope.high_freq_factor <= rope.low_freq_factor) {
      scaling.refuse("high_freq_factor", "a number above low_freq_factor");
    }
  }
  if (rope.type == RopeConfig::Type::kYarn) {
    rope.beta_fast = scaling.number("beta_fast", 1e-6, kMostFactor).value_or(32.0);
    rope.beta_slow = scaling.number("beta_slow", 1e-6, kMostFactor).value_or(1.0);
    rope.attention_factor = scaling.number("attention_factor", 1e-6, kMostFactor);
    rope.truncate = scaling.boolean("truncate").value_or(true);
    for (const auto* name : {"mscale", "mscale_all_dim"}) {
      if (scaling.has(name)) scaling.refuse(name, "to be absent (it is not supported)");
    }
  }
}

/// `rope_parameters` (newer) or `rope_theta` with `rope_scaling` (older). In a file with both,
/// `rope_scaling` counts, as in transformers.
RopeConfig read_rope(const JsonFields& fields, const Architecture& architecture) {
  RopeConfig rope;
  rope.theta = fields.number("rope_theta", 1e-3, 1e15).value_or(architecture.default_rope_theta);
  for (const auto* name : {"rope_scaling", "rope_parameters"}) {
    const json* object = fields.object(name);
    if (object == nullptr || object->empty()) continue;
    const JsonFields scaling(*object, fields.origin(), std::string(name) + ".");
    rope.theta = scaling.number("rope_theta", 1e-3, 1e15).value_or(rope.theta);
    read_rope_scaling(scaling, rope);
    break;
  }
  return rope;
}

std::vector<std::optional<int>> read_windows(const JsonFields& fields,
                                             const Architecture& architecture, int num_layers) {
  const auto layers = static_cast<std::size_t>(num_layers);
  std::vector<std::optional<int>> windows(layers);
  if (architecture.window == Architecture::Window::kNone) return windows;
  std::optional<int> window;
  if (const auto configured = fields.integer("sliding_window", 1, kMostPositions)) {
    window = static_cast<int>(*configured);
  } else if (!fields.is_null(
                 "sliding_window")) {  // absent means the family's default, null means none
    window = architecture.default_sliding_window;
  }
  int first = 0;
  if (architecture.window == Architecture::Window::kUpperLayers) {
    if (!fields.boolean("use_sliding_window").value_or(false)) window.reset();
    first = static_cast<int>(fields.integer("max_window_layers", 0, kMostLayers).value_or(28));
  }
  const auto types = fields.strings("layer_types");
  if (types && types->size() != layers) {
    fields.refuse("layer_types", fmt::format("{} entries, one per layer", num_layers));
  }
  for (std::size_t i = 0; i < layers; ++i) {
    bool slides = static_cast<int>(i) >= first;
    if (types) {
      if ((*types)[i] != "sliding_attention" && (*types)[i] != "full_attention") {
        fields.refuse("layer_types", "sliding_attention or full_attention for each layer");
      }
      slides = (*types)[i] == "sliding_attention";
    }
    if (slides) windows[i] = window;
  }
  return windows;
}

void read_sizes(const JsonFields& fields, const Architecture& architecture, ModelConfig& config) {
  config.num_layers = fields.required_integer("num_hidden_layers", 1, kMostLayers);
  config.hidden_size = fields.required_integer("hidden_size", 1, kMostWidth);
  config.intermediate_size = fields.required_integer("intermediate_size", 1, kMostWidth);
  config.num_heads = fields.required_integer("num_attention_heads", 1, kMostWidth);
  config.vocab_size = fields.required_integer("vocab_size", 1, kMostVocabulary);
  const int default_kv_heads = architecture.default_num_kv_heads;
  config.num_kv_heads =
      static_cast<int>(fields.integer("num_key_value_heads", 1, kMostWidth)
                           .value_or(default_kv_heads > 0 && !fields.is_null("num_key_value_heads")
                                         ? default_kv_heads
                                         : config.num_heads));
  if (config.num_heads % config.num_kv_heads != 0) {
    fields.refuse("num_key_value_heads",
                  fmt::format("a divisor of the {} attention heads", config.num_heads));
  }
  if (const auto head_dim = fields.integer("head_dim", 1, kMostWidth)) {
    config.head_dim = static_cast<int>(*head_dim);
  } else if (architecture.default_head_dim > 0) {
    config.head_dim = architecture.default_head_dim;
  } else if (config.hidden_size % config.num_heads == 0) {
    config.head_dim = config.hidden_size / config.num_heads;
  } else {
    fields.refuse("hidden_size",
                  fmt::format("a multiple of the {} attention heads", config.num_heads));
  }
  if (config.head_dim % 2 != 0) {
    throw_input_error("{}: head_dim {} is odd; rotary positions need pairs", fields.origin(),
                      config.head_dim);
  }
  if (std::int64_t{config.num_heads} * config.head_dim > kMostWidth) {
    fields.refuse("num_attention_heads",
                  fmt::format("at most {} with a head_dim of {}", kMostWidth / config.head_dim,
                              config.head_dim));
  }
  config.max_position_embeddings =
      static_cast<int>(fields.integer("max_position_embeddings", 1, kMostPositions)
                           .value_or(architecture.default_max_position_embeddings));
  config.rms_norm_eps =
      fields.number("rms_norm_eps", 0, 1).value_or(architecture.default_rms_norm_eps);
}

void refuse_unsupported(const JsonFields& fields) {
  if (const auto activation = fields.string("hidden_act"); activation && *activation != "silu") {
    fields.refuse("hidden_act", "silu");
  }
  if (const auto partial = fields.number("partial_rotary_factor", 0, 1);
      partial && *partial != 1.0) {
    fields.refuse("partial_rotary_factor", "1 (all dimensions are rotated)");
  }
}

DType read_dtype(const JsonFields& fields) {
  const char* name = fields.has("dtype") ? "dtype" : "torch_dtype";
  const auto text = fields.string(name);
  if (!text) return DType::kF32;
  const auto dtype = parse_dtype(*text);
  if (dtype != DType::kF32 && dtype != DType::kF16 && dtype != DType::kBF16) {
    fields.refuse(name, "float32, float16 or bfloat16");
  }
  return *dtype;
}

void read_special_tokens(const JsonFields& config_fields, const JsonFields* generation,
                         ModelConfig& config) {
  const auto first_of = [&](const std::string& name) {
    if (generation != nullptr) {
      auto ids = generation->token_ids(name);
      if (!ids.empty()) return ids;
    }
    return config_fields.token_ids(name);
  };
  config.eos_token_ids = first_of("eos_token_id");
  const auto bos = first_of("bos_token_id");
  if (!bos.empty()) config.bos_token_id = bos.front();
}

std::string_view view_of(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

}  // namespace

ModelConfig parse_model_config(std::string_view config_text, std::string_view generation_text,
                               const std::filesystem::path& folder) {
  const std::string origin = (folder / "config.json").string();
  const json object = parse_object(config_text, origin);
  const JsonFields fields(object, origin);
  const Architecture& architecture = architecture_of(fields);
  refuse_unsupported(fields);

  ModelConfig config;
  config.architecture = architecture.name;
  read_sizes(fields, architecture, config);
  config.rope = read_rope(fields, architecture);
  const bool attention_bias = fields.boolean("attention_bias").value_or(false);
  config.qkv_bias = has_bias(architecture.qkv_bias, attention_bias);
  config.output_bias = has_bias(architecture.output_bias, attention_bias);
  config.mlp_bias =
      architecture.configurable_mlp_bias && fields.boolean("mlp_bias").value_or(false);
  config.qk_norm = architecture.qk_norm;
  config.sliding_window = read_windows(fields, architecture, config.num_layers);
  config.tie_word_embeddings = fields.boolean("tie_word_embeddings").value_or(false);
  config.dtype = read_dtype(fields);

  if (generation_text.empty()) {
    read_special_tokens(fields, nullptr, config);
  } else {
    const std::string generation_origin = (folder / "generation_config.json").string();
    const json generation_object = parse_object(generation_text, generation_origin);
    const JsonFields generation(generation_object, generation_origin);
    read_special_tokens(fields, &generation, config);
  }
  return config;
}

ModelConfig load_model_config(const std::filesystem::path& folder) {
  const auto config_path = folder / "config.json";
  if (!path_exists(config_path)) {
    throw_input_error("'{}' has no config.json; expected a Hugging Face model folder",
                      folder.string());
  }
  const MappedFile config(config_path);
  const auto generation_path = folder / "generation_config.json";
  if (!path_exists(generation_path)) return parse_model_config(view_of(config), {}, folder);
  const MappedFile generation(generation_path);
  return parse_model_config(view_of(config), view_of(generation), folder);
}

std::int64_t num_parameters(const ModelConfig& config) {
  const std::int64_t hidden = config.hidden_size;
  const std::int64_t inner = config.intermediate_size;
  const std::int64_t queries = std::int64_t{config.num_heads} * config.head_dim;
  const std::int64_t keys = std::int64_t{config.num_kv_heads} * config.head_dim;
  std::int64_t layer =
      2 * hidden + hidden * (queries + 2 * keys) + queries * hidden + 3 * hidden * inner;
  if (config.qkv_bias) layer += queries + 2 * keys;
  if (config.output_bias) layer += hidden;
  if (config.mlp_bias) layer += 2 * inner + hidden;
  if (config.qk_norm) layer += 2 * std::int64_t{config.head_dim};
  const std::int64_t embeddings =
      std::int64_t{config.vocab_size} * hidden * (config.tie_word_embeddings ? 1 : 2);
  return config.num_layers * layer + embeddings + hidden;
}

}  // namespace iol
