#pragma once
// What formats with f32 sums share, and blocks of 32 16-bit numbers.
#include "backend/cuda/kernels/multiply_rows.cuh"

namespace iol::cuda {

struct FloatSum {
  float d[4];
};

/// Two vectors of weights to a tile and block.
struct TwoVectors {
  uint4 v[2];
};
/// Weights of a block, of 16 or 8 bits each.
struct VectorWeights {
  using Weights = TwoVectors;
  static constexpr int kTileBytes = 1024;
  static __device__ __forceinline__ Weights load_weights(const std::byte* p) {
    return {{load_streaming(p), load_streaming(p + 512)}};
  }
  static __device__ __forceinline__ Weights shared_weights(const std::byte* p) {
    return {{load_cached(p), load_cached(p + 512)}};
  }
};

/// The left operand of a step whose vector holds it as it is.
__device__ __forceinline__ void take_operand(const TwoVectors& w, int step, std::uint32_t (&a)[4]) {
  a[0] = w.v[step].x;
  a[1] = w.v[step].y;
  a[2] = w.v[step].z;
  a[3] = w.v[step].w;
}

/// A lane's part of a row, of a block of weights whose numbers are as long: 8 of 32, or 16 of 64.
struct NarrowRow {
  static constexpr int kRowBytes = 64;
  static constexpr int kRunBytes = 16;
  uint4 v;
};
__device__ __forceinline__ NarrowRow load_narrow_row(const std::byte* p) {
  return {load_cached(p)};
}

/// A lane's part of a row of 16-bit numbers, of a block of weights of a byte each: 16 of 64.
struct WideRow {
  static constexpr int kRowBytes = 128;
  static constexpr int kRunBytes = 32;
  uint4 v[2];
};
__device__ __forceinline__ WideRow load_wide_row(const std::byte* p) {
  return {{load_cached(p), load_cached(p + 16)}};
}
/// Format::multiply_four() widens four codes of rows g and g + 8 and multiplies them.
template <class Format>
__device__ __forceinline__ void multiply_wide(const TwoVectors& w, const WideRow& x,
                                              FloatSum& sum) {
  Format::multiply_four(w.v[0].x, w.v[0].y, x.v[0].x, x.v[0].y, sum);
  Format::multiply_four(w.v[0].z, w.v[0].w, x.v[0].z, x.v[0].w, sum);
  Format::multiply_four(w.v[1].x, w.v[1].y, x.v[1].x, x.v[1].y, sum);
  Format::multiply_four(w.v[1].z, w.v[1].w, x.v[1].z, x.v[1].w, sum);
}

struct FloatFormat {
  static constexpr bool kAddsStages = false;
  static constexpr bool kHasGroups = false;
  static constexpr bool kTakesRing = false;
  static constexpr bool kHasRowScales = false;
  static constexpr bool kHasTokenScales = false;
  using Sum = FloatSum;
  using Part = float;
  static __device__ __forceinline__ float bits(const Sum& sum, int i) { return sum.d[i]; }
  static __device__ __forceinline__ float part(float bits) { return bits; }
};

/// bf16 or f16 activations, and weights that are such or become it; kHasFactor: see HasFactor.
template <bool kIsBf16, bool kHasFactor = kIsBf16>
struct HalfOperandFormat : FloatFormat, VectorWeights {
  static constexpr OperandNumber kOperand = kIsBf16 ? OperandNumber::kBf16 : OperandNumber::kF16;
  static constexpr bool kHasTokenScales = kHasFactor;
  static constexpr int kOperandBytes = 2;
#if defined(IOL_HAS_WGMMA)
  template <int kSize>
  static __device__ __forceinline__ void multiply_all(float (&d)[kSize],
                                                      const std::uint32_t (&a)[4], std::uint64_t b,
                                                      bool accumulate) {
    wgmma_half<kIsBf16>(d, a, b, accumulate);
  }
#endif
};

/// bf16 or f16 weights and activations; kHasFactor: see HasFactor.
template <bool kIsBf16, bool kHasFactor = false>
struct HalfFormat : HalfOperandFormat<kIsBf16, kHasFactor> {
  using Made = HalfFormat;
  using Sum = FloatSum;
  using Weights = TwoVectors;
  static constexpr bool kTakesRing = true;
  using Row = NarrowRow;
  static constexpr int kRowBytes = NarrowRow::kRowBytes;
  static constexpr int kRunBytes = NarrowRow::kRunBytes;
  static constexpr int kSteps = 2;
  static __device__ __forceinline__ void operand(const Weights& w, int step,
                                                 std::uint32_t (&a)[4]) {
    take_operand(w, step, a);
  }
  static __device__ __forceinline__ Row load_row(const std::byte* p) { return load_narrow_row(p); }
  static __device__ __forceinline__ void multiply(const LinearArgs&, int, int, int,
                                                  const Weights& w, const Row& x, Sum& sum) {
    mma_half<kIsBf16>(sum.d, w.v[0].x, w.v[0].y, w.v[0].z, w.v[0].w, x.v.x, x.v.y);
    mma_half<kIsBf16>(sum.d, w.v[1].x, w.v[1].y, w.v[1].z, w.v[1].w, x.v.z, x.v.w);
  }
  static __device__ __forceinline__ float scaled(float sum, float token_scale, float) {
    return kHasFactor ? __fmul_rn(sum, token_scale) : sum;
  }
};

/// bf16, of rows that may have a norm.
struct NormedBf16Format : HalfFormat<true, true> {
  using Made = NormedBf16Format;
  using FactorFree = HalfFormat<true>;
};

}  // namespace iol::cuda
