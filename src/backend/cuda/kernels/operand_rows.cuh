#pragma once
// The arithmetic of left operands, alike wherever they are made. Of a row x, with a norm:
//   p = x * weight, factor = 1 / sqrt(mean(x^2) + eps), y = p * factor; else y = p = x
//   bf16   p, rounded; sums over K are multiplied by factor
//   int8   scale = max |p| / 127 * factor, code = round(p * (127 / max |p|))
//   fp8    scale = max |p| / 448 * factor, code = e4m3(bf16(p) * (448 / max |p|))
// in f32. So neither waits for the factor; other formats take y. Squares of four neighbours are
// added in f32, the sums of a row's fours as whole numbers of kSquareUnit: exactly, so in any
// order. That unit is far below any eps: a mean of 1e-6 has an error of 1e-10.
#include "backend/cuda/kernels/kernels.h"
#include "backend/cuda/kernels/number.cuh"
#include "backend/cuda/kernels/reduce.cuh"

namespace iol::cuda {

inline constexpr float kLeastMagnitude = 1e-30F;

__device__ __forceinline__ float load_element(const void* x, Element element, std::int64_t index) {
  if (element == Element::kF32) return static_cast<const float*>(x)[index];
  const std::uint16_t bits = static_cast<const std::uint16_t*>(x)[index];
  return element == Element::kBf16 ? bf16_value(bits) : f16_value(bits);
}

__device__ __forceinline__ float4 from_bf16(const uint2& v) {
  return {bf16_low(v.x), bf16_high(v.x), bf16_low(v.y), bf16_high(v.y)};
}
__device__ __forceinline__ float4 from_f16(const uint2& v) {
  return {
      f16_value(static_cast<std::uint16_t>(v.x)), f16_value(static_cast<std::uint16_t>(v.x >> 16)),
      f16_value(static_cast<std::uint16_t>(v.y)), f16_value(static_cast<std::uint16_t>(v.y >> 16))};
}

/// Numbers `base` + `column` .. + 3 of `x`; zero from column `size` on.
__device__ __forceinline__ float4 load_four(const void* x, Element element, std::int64_t base,
                                            int column, int size) {
  if (column >= size) return {};
  if ((base | size) % 4 == 0) {
    if (element == Element::kF32)
      return *reinterpret_cast<const float4*>(static_cast<const float*>(x) + base + column);
    const auto v =
        *reinterpret_cast<const uint2*>(static_cast<const std::uint16_t*>(x) + base + column);
    return element == Element::kBf16 ? from_bf16(v) : from_f16(v);
  }
  const auto at = [&](int i) {
    return column + i < size ? load_element(x, element, base + column + i) : 0.0F;
  };
  return {at(0), at(1), at(2), at(3)};
}

/// Fours at `first`, `first` + kStride, ... of x, all at multiples of four; zero from `end` on. All
/// are asked for before one is waited for: a branch for each would keep them apart.
template <int kStride, int kFours>
__device__ __forceinline__ void load_fours(const void* x, Element element, int first, int end,
                                           float4 (&v)[kFours]) {
  if (element == Element::kF32) {
    const auto* from = reinterpret_cast<const float4*>(static_cast<const float*>(x) + first);
#pragma unroll
    for (int j = 0; j < kFours; ++j)
      v[j] = first + j * kStride < end ? from[j * kStride / 4] : float4{};
    return;
  }
  const auto* from = reinterpret_cast<const uint2*>(static_cast<const std::uint16_t*>(x) + first);
  uint2 halves[kFours];
#pragma unroll
  for (int j = 0; j < kFours; ++j)
    halves[j] = first + j * kStride < end ? from[j * kStride / 4] : uint2{};
#pragma unroll
  for (int j = 0; j < kFours; ++j)
    v[j] = element == Element::kBf16 ? from_bf16(halves[j]) : from_f16(halves[j]);
}

/// Squares of four neighbours.
__device__ __forceinline__ float four_squares(const float4& v) {
  return __fadd_rn(__fadd_rn(__fmul_rn(v.x, v.x), __fmul_rn(v.y, v.y)),
                   __fadd_rn(__fmul_rn(v.z, v.z), __fmul_rn(v.w, v.w)));
}
/// The same as a whole number of kSquareUnit.
__device__ __forceinline__ SquareSum whole_squares(float four) {
  return __float2ull_rn(__fmul_rn(four, 1 / kSquareUnit));
}
/// The squares of 16 neighbours, one to each of 16 lanes that are here together.
__device__ __forceinline__ SquareSum lane_tile_squares(float value) {
  float squares = __fmul_rn(value, value);
  squares += __shfl_xor_sync(0xffffffffU, squares, 1);
  squares += __shfl_xor_sync(0xffffffffU, squares, 2);
  SquareSum sum = whole_squares(squares);
  sum += __shfl_xor_sync(0xffffffffU, sum, 4);
  return sum + __shfl_xor_sync(0xffffffffU, sum, 8);
}

/// Tiles of squares in a row.
IOL_HOST_DEVICE constexpr int square_tiles(int columns) { return (columns + 15) / 16; }

/// A row's squares, by a whole warp, from those of its tiles; `lane`: what lane_squares() gave.
__device__ __forceinline__ SquareSum lane_squares(const SquareSum* tiles, int count) {
  SquareSum sum = 0;
#pragma unroll 4
  for (int tile = static_cast<int>(threadIdx.x) % 32; tile < count; tile += 32) sum += tiles[tile];
  return sum;
}

/// What a row is multiplied by; `squares`: of all of it.
__device__ __forceinline__ float norm_factor(SquareSum squares, int size, float eps) {
  const float unit = __fmul_rn(__frcp_rn(static_cast<float>(size)), kSquareUnit);
  return __frsqrt_rn(__fadd_rn(__fmul_rn(__ull2float_rn(squares), unit), eps));
}

__device__ __forceinline__ float4 product(const float4& v, const float4& weight) {
  return {__fmul_rn(v.x, weight.x), __fmul_rn(v.y, weight.y), __fmul_rn(v.z, weight.z),
          __fmul_rn(v.w, weight.w)};
}
__device__ __forceinline__ float4 product(const float4& v, float factor) {
  return {__fmul_rn(v.x, factor), __fmul_rn(v.y, factor), __fmul_rn(v.z, factor),
          __fmul_rn(v.w, factor)};
}

__device__ __forceinline__ float largest_of(const float4& v) {
  return fmaxf(fmaxf(fabsf(v.x), fabsf(v.y)), fmaxf(fabsf(v.z), fabsf(v.w)));
}

/// Numbers of a row as codes.
struct RowCoder {
  bool is_int8;
  float largest;  // of the row
  float inverse;

  __device__ __forceinline__ RowCoder(bool codes_are_int8, float row_largest)
      : is_int8(codes_are_int8), largest(row_largest) {
    inverse = reciprocal_scale(most(), largest, kLeastMagnitude);
  }
  [[nodiscard]] __device__ __forceinline__ float most() const { return is_int8 ? 127.0F : 448.0F; }
  [[nodiscard]] __device__ __forceinline__ float scale() const {
    return __fdiv_rn(largest, most());
  }
  /// The first in the low byte.
  [[nodiscard]] __device__ __forceinline__ std::uint32_t codes(const float4& v) const {
    if (is_int8) {
      const float x[4] = {v.x, v.y, v.z, v.w};
      return to_int8(x, inverse);
    }
    const std::uint32_t first = to_bf16_pair(v.x, v.y);
    const std::uint32_t second = to_bf16_pair(v.z, v.w);
    const float x[4] = {bf16_low(first), bf16_high(first), bf16_low(second), bf16_high(second)};
    return to_e4m3(x, inverse);
  }
};

}  // namespace iol::cuda
