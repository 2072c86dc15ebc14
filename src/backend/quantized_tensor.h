#pragma once
#include <cstdint>

#include "backend/weight_format.h"

namespace iol {

/// A weight matrix [N, K] in a quantized format, row-major, as engine directories and quantized
/// checkpoints hold it and before a backend packs it: views of memory that somebody else owns.
///
///   w[n][k] = (q[n][k] - zero[n][g]) * scale[n][g]      g = k' / group_size
///
/// where k' is k, or its place in `input_order`. G = K / group_size; 1 for formats that are not
/// grouped.
struct QuantizedTensor {
  WeightFormat format = WeightFormat::kNone;
  std::int64_t group_size = 0;  // K where not grouped; of int4 a multiple of 16
  /// int8, int8-wo: i8 [N, K]. fp8: E4M3 [N, K]. int4: [N, K / 2], two numbers 0..15 to a byte, the
  /// even k in the low half.
  const std::uint8_t* values = nullptr;
  const float* scales = nullptr;        // [N, G]
  const std::uint8_t* zeros = nullptr;  // [N, G], 0..15; int4 only, null: 8 everywhere
  /// [K] or null: stored column j multiplies input input_order[j] (GPTQ's act-order, sorted by
  /// group). int4 only.
  const std::int32_t* input_order = nullptr;
};

}  // namespace iol
