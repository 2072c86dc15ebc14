// Compiled with -ffp-contract=off: a fused multiply-add rounds once, and only some instruction sets
// have it.
#include "quantization/dot_products.h"

#include <cstring>

// One copy per instruction set, chosen when the program is loaded. ThreadSanitizer is not ready
// that early.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_THREAD__)
#define IOL_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define IOL_CLONES
#endif

namespace iol {
namespace {

constexpr std::int64_t kLanes = 16;
using Lanes = float __attribute__((vector_size(kLanes * sizeof(float))));

/// kA rows of a times kB rows of b, held in registers.
template <int kA, int kB>
__attribute__((always_inline)) inline void multiply_tile(const float* a, const float* b,
                                                         std::int64_t num_columns, float* out,
                                                         std::int64_t out_stride) {
  Lanes sums[kA][kB] = {};
  const std::int64_t whole = num_columns / kLanes * kLanes;
  for (std::int64_t k = 0; k < whole; k += kLanes) {
    Lanes right[kB];
    for (int j = 0; j < kB; ++j) std::memcpy(&right[j], b + j * num_columns + k, sizeof(Lanes));
    for (int i = 0; i < kA; ++i) {
      Lanes left;
      std::memcpy(&left, a + i * num_columns + k, sizeof(Lanes));
      for (int j = 0; j < kB; ++j) sums[i][j] += left * right[j];
    }
  }
  for (int i = 0; i < kA; ++i) {
    for (int j = 0; j < kB; ++j) {
      float sum = 0;
      for (int lane = 0; lane < kLanes; ++lane) sum += sums[i][j][lane];
      for (std::int64_t k = whole; k < num_columns; ++k)
        sum += a[i * num_columns + k] * b[j * num_columns + k];
      out[i * out_stride + j] = sum;
    }
  }
}

}  // namespace

IOL_CLONES void dot_products(const float* a, std::int64_t num_a, const float* b, std::int64_t num_b,
                             std::int64_t num_columns, float* out, std::int64_t out_stride) {
  constexpr int kTileA = 4;
  constexpr int kTileB = 4;
  std::int64_t j = 0;
  for (; j + kTileB <= num_b; j += kTileB) {
    const float* right = b + j * num_columns;
    std::int64_t i = 0;
    for (; i + kTileA <= num_a; i += kTileA)
      multiply_tile<kTileA, kTileB>(a + i * num_columns, right, num_columns,
                                    out + i * out_stride + j, out_stride);
    for (; i < num_a; ++i)
      multiply_tile<1, kTileB>(a + i * num_columns, right, num_columns, out + i * out_stride + j,
                               out_stride);
  }
  for (; j < num_b; ++j) {
    for (std::int64_t i = 0; i < num_a; ++i)
      multiply_tile<1, 1>(a + i * num_columns, b + j * num_columns, num_columns,
                          out + i * out_stride + j, out_stride);
  }
}

}  // namespace iol
