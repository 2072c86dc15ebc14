#pragma once
// One row of a weight matrix in a quantized format: made from f32, or taken from a tensor that is
// quantized already. What a backend packs and what an engine directory stores go through here, so
// that they are the same numbers.
#include <cstdint>
#include <span>
#include <vector>

#include "backend/quantized_tensor.h"

namespace iol {

/// codes: one byte for each k (i8 bits, E4M3 bits, or 0..15). scales, zeros: [G].
struct QuantizedRow {
  std::vector<std::uint8_t> codes;
  std::vector<float> scales;
  std::vector<std::uint8_t> zeros;  // int4 only
};

/// Rounds to nearest, ties to even:
///   int8:  scale = max |w| / 127, q = round(w * (127 / max |w|))
///   fp8:   scale = max |w| / 448, q = e4m3(w * (448 / max |w|))
///   int4:  per group, with lo = min(0, w...) and hi = max(0, w...): scale = (hi - lo) / 15,
///          zero = round(-lo / scale), q = clamp(round(w / scale) + zero, 0, 15)
/// all in f32. A row (group) of zeros gives zeros, and so does an int8 or fp8 row whose largest
/// magnitude is at most 1e-30. `group_size` divides K; ignored
/// by formats that are not grouped. `row` is reused.
/// Returns false, with `row` undefined, when a weight is NaN or infinite.
[[nodiscard]] bool quantize_row(WeightFormat format, std::int64_t group_size,
                                std::span<const float> weights, QuantizedRow& row);

/// Row n of a quantized [N, K] matrix.
void read_row(const QuantizedTensor& tensor, std::int64_t n, std::int64_t num_columns,
              QuantizedRow& row);

/// out[j] = (q[j] - zero) * scale in f32, in the order of the stored columns.
void dequantize_row(WeightFormat format, std::int64_t group_size, const QuantizedRow& row,
                    std::span<float> out);

}  // namespace iol
