#include "bench/bench_model.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/mapped_file.h"
#include "base/sha256.h"

namespace iol::bench {
namespace {

using nlohmann::json;

constexpr std::uintmax_t kHashAllBytes = std::uintmax_t{4} << 30;
constexpr std::size_t kSampleBytes = 1 << 20;

std::vector<std::filesystem::path> model_files(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const auto extension = entry.path().extension();
    if (extension == ".json" || extension == ".safetensors" || extension == ".model") {
      files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

json rope_parameters(const RopeConfig& rope) {
  json parameters = {{"rope_theta", rope.theta}, {"rope_type", "default"}};
  if (rope.type == RopeConfig::Type::kDefault) return parameters;
  parameters["factor"] = rope.factor;
  const bool has_original = rope.original_max_position_embeddings > 0;
  if (has_original) {
    parameters["original_max_position_embeddings"] = rope.original_max_position_embeddings;
  }
  switch (rope.type) {
    case RopeConfig::Type::kLinear:
      parameters["rope_type"] = "linear";
      break;
    case RopeConfig::Type::kDynamic:
      parameters["rope_type"] = "dynamic";
      break;
    case RopeConfig::Type::kLlama3:
      parameters["rope_type"] = "llama3";
      parameters["low_freq_factor"] = rope.low_freq_factor;
      parameters["high_freq_factor"] = rope.high_freq_factor;
      break;
    case RopeConfig::Type::kYarn:
      parameters["rope_type"] = "yarn";
      parameters["beta_fast"] = rope.beta_fast;
      parameters["beta_slow"] = rope.beta_slow;
      if (rope.attention_factor) parameters["attention_factor"] = *rope.attention_factor;
      break;
    case RopeConfig::Type::kDefault:
      break;
  }
  return parameters;
}

std::string model_type(const std::string& architecture) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 4> kTypes{{
      {"LlamaForCausalLM", "llama"},
      {"MistralForCausalLM", "mistral"},
      {"Qwen2ForCausalLM", "qwen2"},
      {"Qwen3ForCausalLM", "qwen3"},
  }};
  for (const auto& [name, type] : kTypes) {
    if (name == architecture) return std::string(type);
  }
  throw_input_error(
      "{}: the PyTorch baseline has no configuration for this architecture; leave "
      "pytorch out of --engines",
      architecture);
}

}  // namespace

std::int64_t weight_bytes_per_step(const ModelConfig& config, DType dtype,
                                   const Quantization& quantization) {
  const auto bytes = [&](std::int64_t weights, WeightFormat format) {
    const auto& traits = traits_of(format);
    if (format == WeightFormat::kNone)
      return weights * static_cast<std::int64_t>(dtype_bytes(dtype));
    // Per-channel scales are one number in thousands; those of groups count, with their zero
    // points.
    const std::int64_t scales = traits.grouped ? weights / quantization.group_size * 5 : 0;
    return weights * traits.weight_bits / 8 + scales;
  };
  const std::int64_t head = std::int64_t{config.vocab_size} * config.hidden_size;
  const std::int64_t looked_up = config.tie_word_embeddings ? 0 : head;
  const std::int64_t layers = num_parameters(config) - head - looked_up;
  return bytes(head, quantization.head) + bytes(layers, quantization.format);
}

json transformers_config(const ModelConfig& config) {
  json fields = {{"model_type", model_type(config.architecture)},
                 {"hidden_size", config.hidden_size},
                 {"intermediate_size", config.intermediate_size},
                 {"num_hidden_layers", config.num_layers},
                 {"num_attention_heads", config.num_heads},
                 {"num_key_value_heads", config.num_kv_heads},
                 {"head_dim", config.head_dim},
                 {"vocab_size", config.vocab_size},
                 {"max_position_embeddings", config.max_position_embeddings},
                 {"rms_norm_eps", config.rms_norm_eps},
                 {"rope_parameters", rope_parameters(config.rope)},
                 {"tie_word_embeddings", config.tie_word_embeddings},
                 {"use_cache", true}};
  if (fields["model_type"] == "mistral") {
    fields["sliding_window"] = nullptr;  // absent would mean Mistral's default of 4096
    if (!config.sliding_window.empty() && config.sliding_window.front()) {
      fields["sliding_window"] = config.sliding_window.front().value();
    }
  }
  if (fields["model_type"] == "llama") {
    fields["attention_bias"] = config.qkv_bias;
    fields["mlp_bias"] = config.mlp_bias;
  }
  return fields;
}

std::string hash_model_files(const std::filesystem::path& folder) {
  const auto files = model_files(folder);
  std::uintmax_t total_bytes = 0;
  for (const auto& file : files) total_bytes += std::filesystem::file_size(file);
  const bool all = total_bytes <= kHashAllBytes;
  Sha256 hash;
  for (const auto& file : files) {
    const MappedFile mapped(file);
    const auto bytes = mapped.bytes();
    hash.add(fmt::format("{}\n{}\n", file.filename().string(), bytes.size()));
    if (all || bytes.size() <= 2 * kSampleBytes) {
      hash.add(bytes);
    } else {
      hash.add(bytes.first(kSampleBytes));
      hash.add(bytes.last(kSampleBytes));
    }
  }
  return (all ? "sha256:" : "sha256-sampled:") + hash.hexadecimal();
}

json model_record(const BenchModel& model) {
  const auto& config = model.config;
  return {{"name", model.name},
          {"hash", model.hash},
          {"synthetic", model.synthetic()},
          {"architecture", config.architecture},
          {"num_parameters", num_parameters(config)},
          {"num_layers", config.num_layers},
          {"hidden_size", config.hidden_size},
          {"vocab_size", config.vocab_size},
          {"max_context", config.max_position_embeddings}};
}

}  // namespace iol::bench
