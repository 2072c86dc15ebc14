#pragma once
#include <vector>

#include "model/config.h"

namespace iol {

/// Inverse frequencies [head_dim / 2] in f32, computed as transformers' modeling_rope_utils does
/// for each scaling form. The `dynamic` form changes with the length only beyond
/// max_position_embeddings; the engine refuses such lengths, so it equals the default form here.
std::vector<float> rope_inv_freq(const ModelConfig& config);

/// What cos and sin are multiplied with: 1, but for YaRN.
float rope_attention_factor(const ModelConfig& config);

}  // namespace iol
