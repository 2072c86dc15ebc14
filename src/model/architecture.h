#pragma once
#include <span>
#include <string_view>

namespace iol {

/// What distinguishes one family of decoder-only transformers from the next. All share RMSNorm,
/// rotary positions, grouped-query attention and a SwiGLU feed-forward, and the tensor names of
/// weights.cpp. The next family of this kind is one more row in architecture.cpp.
struct Architecture {
  enum class Bias { kNever, kAlways, kAsConfigured };  // as configured: `attention_bias`
  enum class Window {
    kNone,
    kAllLayers,
    kUpperLayers
  };  // upper layers: `use_sliding_window`, `max_window_layers`

  std::string_view name;  // in config.json's `architectures`
  Bias qkv_bias;
  Bias output_bias;
  bool configurable_mlp_bias;  // `mlp_bias`
  bool qk_norm;
  Window window;

  // What transformers assumes when config.json leaves a field out.
  int default_head_dim;      // 0: hidden_size / num_attention_heads
  int default_num_kv_heads;  // 0: as many as query heads
  double default_rms_norm_eps;
  double default_rope_theta;
  int default_max_position_embeddings;
  int default_sliding_window;  // 0: none
};

std::span<const Architecture> known_architectures();

/// Nullptr for a name that isn't known.
const Architecture* find_architecture(std::string_view name);

}  // namespace iol
