#include "model/architecture.h"

#include <array>

namespace iol {
namespace {

using Bias = Architecture::Bias;
using Window = Architecture::Window;

// Defaults: the configuration classes of transformers 5.
constexpr std::array<Architecture, 4> kArchitectures{{
    {.name = "LlamaForCausalLM",
     .qkv_bias = Bias::kAsConfigured,
     .output_bias = Bias::kAsConfigured,
     .configurable_mlp_bias = true,
     .qk_norm = false,
     .window = Window::kNone,
     .default_head_dim = 0,
     .default_num_kv_heads = 0,
     .default_rms_norm_eps = 1e-6,
     .default_rope_theta = 10000.0,
     .default_max_position_embeddings = 2048,
     .default_sliding_window = 0},
    {.name = "MistralForCausalLM",
     .qkv_bias = Bias::kNever,
     .output_bias = Bias::kNever,
     .configurable_mlp_bias = false,
     .qk_norm = false,
     .window = Window::kAllLayers,
     .default_head_dim = 0,
     .default_num_kv_heads = 8,
     .default_rms_norm_eps = 1e-6,
     .default_rope_theta = 10000.0,
     .default_max_position_embeddings = 131072,
     .default_sliding_window = 4096},
    {.name = "Qwen2ForCausalLM",
     .qkv_bias = Bias::kAlways,
     .output_bias = Bias::kNever,
     .configurable_mlp_bias = false,
     .qk_norm = false,
     .window = Window::kUpperLayers,
     .default_head_dim = 0,
     .default_num_kv_heads = 32,
     .default_rms_norm_eps = 1e-6,
     .default_rope_theta = 10000.0,
     .default_max_position_embeddings = 32768,
     .default_sliding_window = 4096},
    {.name = "Qwen3ForCausalLM",
     .qkv_bias = Bias::kAsConfigured,
     .output_bias = Bias::kAsConfigured,
     .configurable_mlp_bias = false,
     .qk_norm = true,
     .window = Window::kUpperLayers,
     .default_head_dim = 128,
     .default_num_kv_heads = 32,
     .default_rms_norm_eps = 1e-6,
     .default_rope_theta = 10000.0,
     .default_max_position_embeddings = 32768,
     .default_sliding_window = 4096},
}};

}  // namespace

std::span<const Architecture> known_architectures() { return kArchitectures; }

const Architecture* find_architecture(std::string_view name) {
  for (const auto& architecture : kArchitectures) {
    if (architecture.name == name) return &architecture;
  }
  return nullptr;
}

}  // namespace iol
