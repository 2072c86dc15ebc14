#pragma once
#include <cstdint>

namespace iol {

/// out[i * out_stride + j] = sum over k of a[i][k] b[j][k]
/// a: f32 [num_a, K], b: f32 [num_b, K], row-major. Sums are f32 in sixteen lanes (lane l takes the
/// k with k mod 16 = l) that are added up in order, then the rest of K: the result depends on K and
/// the operands alone, and is the same on every instruction set. One thread.
void dot_products(const float* a, std::int64_t num_a, const float* b, std::int64_t num_b,
                  std::int64_t num_columns, float* out, std::int64_t out_stride);

}  // namespace iol
