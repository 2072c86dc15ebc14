#pragma once
// The hyper-parameters of a checkpoint, whatever family wrote them down.
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/dtype.h"

namespace iol {

/// Rotary position embedding, with the scaling forms of Hugging Face's `rope_scaling` /
/// `rope_parameters`.
struct RopeConfig {
  enum class Type : std::uint8_t { kDefault, kLinear, kDynamic, kLlama3, kYarn };
  Type type = Type::kDefault;
  double theta = 10000.0;
  double factor = 1.0;
  double low_freq_factor = 1.0;              // llama3
  double high_freq_factor = 4.0;             // llama3
  double beta_fast = 32.0;                   // yarn
  double beta_slow = 1.0;                    // yarn
  bool truncate = true;                      // yarn: whole correction dimensions
  std::optional<double> attention_factor;    // yarn
  int original_max_position_embeddings = 0;  // 0: max_position_embeddings
};

struct ModelConfig {
  std::string architecture;  // "LlamaForCausalLM"
  int num_layers = 0;
  int hidden_size = 0;
  int intermediate_size = 0;
  int num_heads = 0;
  int num_kv_heads = 0;
  int head_dim = 0;
  int vocab_size = 0;
  int max_position_embeddings = 0;
  double rms_norm_eps = 1e-6;
  RopeConfig rope;
  bool qkv_bias = false;
  bool output_bias = false;  // attention output projection
  bool mlp_bias = false;
  bool qk_norm = false;
  std::vector<std::optional<int>> sliding_window;  // [num_layers]; nothing: full attention
  bool tie_word_embeddings = false;
  DType dtype = DType::kF32;
  std::optional<std::int32_t> bos_token_id;
  std::vector<std::int32_t> eos_token_ids;  // generation_config.json wins over config.json
};

/// Reads config.json (and generation_config.json beside it when there is one).
/// Throws InputError naming the file, the field and its value.
ModelConfig load_model_config(const std::filesystem::path& folder);

/// The same on contents; `generation_config` may be empty. The names of the files go into error
/// messages.
ModelConfig parse_model_config(std::string_view config, std::string_view generation_config,
                               const std::filesystem::path& folder);

/// Parameters in the weights, tied embeddings counted once.
std::int64_t num_parameters(const ModelConfig& config);

}  // namespace iol
