#pragma once
// The arithmetic of left operands, alike wherever they are made:
//   y = x / sqrt(mean(x^2) + eps) * weight, or x
//   int8   scale = max |y| / 127 of the row, code = round(y * (127 / max |y|))
//   fp8    scale = max |y| / 448, code = e4m3(y * (448 / max |y|))
// in f32, as the CPU backend rounds. Squares are summed up as 512 threads would that hold four
// neighbours in turn, whatever number of threads makes the row.
#include "backend/cuda/kernels/kernels.h"
#include "backend/cuda/kernels/number.cuh"
#include "backend/cuda/kernels/reduce.cuh"

namespace iol::cuda {

inline constexpr int kRowThreads = 512;
inline constexpr int kRowWarps = kRowThreads / 32;
inline constexpr float kLeastMagnitude = 1e-30F;

__device__ __forceinline__ float load_element(const void* x, Element element, std::int64_t index) {
  if (element == Element::kF32) return static_cast<const float*>(x)[index];
  const std::uint16_t bits = static_cast<const std::uint16_t*>(x)[index];
  return element == Element::kBf16 ? bf16_value(bits) : f16_value(bits);
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
    if (element == Element::kBf16)
      return {bf16_low(v.x), bf16_high(v.x), bf16_low(v.y), bf16_high(v.y)};
    return {f16_value(static_cast<std::uint16_t>(v.x)),
            f16_value(static_cast<std::uint16_t>(v.x >> 16)),
            f16_value(static_cast<std::uint16_t>(v.y)),
            f16_value(static_cast<std::uint16_t>(v.y >> 16))};
  }
  const auto at = [&](int i) {
    return column + i < size ? load_element(x, element, base + column + i) : 0.0F;
  };
  return {at(0), at(1), at(2), at(3)};
}

__device__ __forceinline__ float add_squares(float sum, const float4& v) {
  sum = __fmaf_rn(v.x, v.x, sum);
  sum = __fmaf_rn(v.y, v.y, sum);
  sum = __fmaf_rn(v.z, v.z, sum);
  return __fmaf_rn(v.w, v.w, sum);
}

/// What a row is multiplied by; `sums`: the squares of each of kRowWarps warps.
__device__ __forceinline__ float norm_factor(const float* sums, int size, double eps) {
  float total = 0;
#pragma unroll
  for (int warp = 0; warp < kRowWarps; ++warp) total += sums[warp];
  return static_cast<float>(rsqrt(static_cast<double>(total) / size + eps));
}

__device__ __forceinline__ float4 normalized(const float4& v, float factor, const float4& weight) {
  return {__fmul_rn(__fmul_rn(v.x, factor), weight.x), __fmul_rn(__fmul_rn(v.y, factor), weight.y),
          __fmul_rn(__fmul_rn(v.z, factor), weight.z), __fmul_rn(__fmul_rn(v.w, factor), weight.w)};
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
  [[nodiscard]] __device__ __forceinline__ std::uint32_t code(float x) const {
    const float scaled = scaled_within(x, inverse, most());
    return (is_int8 ? static_cast<std::uint32_t>(__float2int_rn(scaled)) : to_e4m3(scaled)) & 0xffU;
  }
  [[nodiscard]] __device__ __forceinline__ std::uint32_t codes(const float4& v) const {
    return code(v.x) | code(v.y) << 8 | code(v.z) << 16 | code(v.w) << 24;
  }
};

}  // namespace iol::cuda
