#pragma once
// Where a transformer layer can be rescaled without changing what it computes.
//
// A matrix W [N, K] sees x [K]. For any s > 0, W x = (W diag(s)) (diag(1/s) x); and diag(1/s) x
// costs nothing where it can be folded into the tensor that makes x:
//
//   input                consumers           producers
//   input RMSNorm        q, k, v             input_layernorm.weight
//   attention output     o                   rows of v (and its bias)
//   post-attention norm  gate, up            post_attention_layernorm.weight
//   SwiGLU output        down                rows of up (and its bias)
//
// Attention mixes rows of v with weights that do not depend on v, so the scale of a row of v comes
// out again; with grouped-query attention every query head of a group sees the same v, so they
// share its scales. The output of SwiGLU is linear in the rows of up.
//
// A factor on a row of a quantized matrix changes neither that row's codes nor its relative error,
// so the sites don't affect each other.
//
// Xiao et al., "SmoothQuant", 2022; Lin et al., "AWQ", 2023.
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "model/config.h"

namespace iol {

enum class LinearInput : std::uint8_t { kQkv, kOutput, kGateUp, kDown };

/// "qkv", "output", "gate_up", "down".
std::string_view linear_input_name(LinearInput input);

struct ScalingSite {
  int layer = 0;
  LinearInput input = LinearInput::kQkv;
  std::int64_t num_columns = 0;        // K of the consumers
  std::int64_t num_producer_rows = 0;  // P: the distinct scales
  std::int64_t head_dim = 0;           // kOutput: D; else K
  std::int64_t group = 1;              // kOutput: query heads that share a head of v
  std::vector<std::string> consumers;  // matrices [N_i, K], multiplied as one
  std::vector<std::int64_t> consumer_rows;
  std::vector<std::string> producers;  // [P] or [P, ...]

  /// The producer's row that column k of the consumers is made from.
  [[nodiscard]] std::int64_t producer_row(std::int64_t k) const {
    return k / (head_dim * group) * head_dim + k % head_dim;
  }
  /// [P] -> [K]
  [[nodiscard]] std::vector<float> expanded(const std::vector<float>& values) const;
  /// [K] -> [P]: `combine` of the columns that come from the same row, in turn.
  [[nodiscard]] std::vector<float> pooled(const std::vector<float>& values,
                                          const std::function<float(float, float)>& combine) const;
};

/// All sites of a model, layer by layer.
std::vector<ScalingSite> scaling_sites(const ModelConfig& config);

}  // namespace iol
