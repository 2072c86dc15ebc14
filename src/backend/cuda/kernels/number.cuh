#pragma once
// Numbers in registers: conversions between the formats that weights, activations and the cache are
// kept in. Two 16-bit numbers share a register, the first in the low half.
#include <cstdint>

namespace iol::cuda {

__device__ __forceinline__ float bf16_low(std::uint32_t pair) {
  return __uint_as_float(pair << 16);
}
__device__ __forceinline__ float bf16_high(std::uint32_t pair) {
  return __uint_as_float(pair & 0xffff0000U);
}
__device__ __forceinline__ float bf16_value(std::uint16_t bits) {
  return __uint_as_float(static_cast<std::uint32_t>(bits) << 16);
}
__device__ __forceinline__ float f16_value(std::uint16_t bits) {
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
  return value;
}

/// Rounds to nearest, ties to even.
__device__ __forceinline__ std::uint32_t to_bf16_pair(float low, float high) {
  std::uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}
__device__ __forceinline__ std::uint32_t to_f16_pair(float low, float high) {
  std::uint32_t pair;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}
__device__ __forceinline__ std::uint16_t to_bf16(float value) {
  return static_cast<std::uint16_t>(to_bf16_pair(value, value));
}
__device__ __forceinline__ std::uint16_t to_f16(float value) {
  return static_cast<std::uint16_t>(to_f16_pair(value, value));
}

/// E4M3: 1 sign, 4 exponent (bias 7), 3 mantissa bits; 0x7f is NaN.
__device__ __forceinline__ float e4m3_value(std::uint32_t code) {
  const std::uint32_t size = code & 0x7fU;
  // Exponent and mantissa moved to where f32 has them are 2^-120 times too small, subnormals too.
  const float magnitude = size == 0x7fU ? __uint_as_float(0x7fc00000U)
                                        : __fmul_rn(__uint_as_float(size << 20), 0x1p120F);
  return (code & 0x80U) != 0 ? -magnitude : magnitude;
}

/// The nearest E4M3 code, ties to even, of a number within [-448, 448].
__device__ __forceinline__ std::uint32_t to_e4m3(float value) {
#if __CUDA_ARCH__ >= 890
  std::uint16_t pair;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(0.0F), "f"(value));
  return value == value ? pair : 0;
#else
  const std::uint32_t bits = __float_as_uint(value);
  const std::uint32_t sign = bits >> 24 & 0x80U;
  const float size = fabsf(value);
  if (!(size >= 0x1p-6F)) {  // subnormal: multiples of 2^-9 (also what NaN becomes: 0)
    return sign | static_cast<std::uint32_t>(rintf(size * 512.0F));
  }
  const std::uint32_t magnitude = bits & 0x7fffffffU;
  const std::uint32_t rounded = (magnitude + 0x7ffffU + (magnitude >> 20 & 1U)) >> 20;
  const std::uint32_t code = rounded - (120U << 3);
  return sign | (code > 0x7eU ? 0x7eU : code);
#endif
}

/// Four numbers times a factor that brings them into [-448, 448], as codes: the first in the low
/// byte.
__device__ __forceinline__ std::uint32_t to_e4m3(const float (&x)[4], float factor) {
#if __CUDA_ARCH__ >= 890
  std::uint32_t codes;
  asm("{\n.reg .b16 first, second;\n"
      "cvt.rn.satfinite.e4m3x2.f32 first, %2, %1;\n"
      "cvt.rn.satfinite.e4m3x2.f32 second, %4, %3;\n"
      "mov.b32 %0, {first, second};\n}"
      : "=r"(codes)
      : "f"(__fmul_rn(x[0], factor)), "f"(__fmul_rn(x[1], factor)), "f"(__fmul_rn(x[2], factor)),
        "f"(__fmul_rn(x[3], factor)));
  return codes;
#else
  std::uint32_t codes = 0;
#pragma unroll
  for (int i = 0; i < 4; ++i) codes |= to_e4m3(__fmul_rn(x[i], factor)) << 8 * i;
  return codes;
#endif
}
/// Four numbers times a factor that brings them into [-127, 127], as int8 codes.
__device__ __forceinline__ std::uint32_t to_int8(const float (&x)[4], float factor) {
  // Behind the point of 1.5 x 2^23 there is nothing: adding it rounds, to nearest, ties to even.
  std::uint32_t bits[4];
#pragma unroll
  for (int i = 0; i < 4; ++i)
    bits[i] = __float_as_uint(__fadd_rn(__fmul_rn(x[i], factor), 0x1.8p23F));
  return __byte_perm(__byte_perm(bits[0], bits[1], 0x0040), __byte_perm(bits[2], bits[3], 0x0040),
                     0x5410);
}

/// Four E4M3 codes, none of them NaN, as f16, exactly: the first two, then the others.
__device__ __forceinline__ void e4m3_to_f16(std::uint32_t codes, std::uint32_t& low,
                                            std::uint32_t& high) {
#if __CUDA_ARCH__ >= 890
  asm("{\n.reg .b16 first, second;\n"
      "mov.b32 {first, second}, %2;\n"
      "cvt.rn.f16x2.e4m3x2 %0, first;\n"
      "cvt.rn.f16x2.e4m3x2 %1, second;\n}"
      : "=r"(low), "=r"(high)
      : "r"(codes));
#else
  const std::uint32_t first = __byte_perm(codes, 0, 0x1404);   // [0, c0, 0, c1] from the low byte
  const std::uint32_t second = __byte_perm(codes, 0, 0x3424);  // [0, c2, 0, c3]
  low = (first & 0x80008000U) | (first >> 1 & 0x3f803f80U);
  high = (second & 0x80008000U) | (second >> 1 & 0x3f803f80U);
  asm("mul.f16x2 %0, %1, %2;" : "=r"(low) : "r"(low), "r"(0x5c005c00U));  // 2^8: bias 7 to 15
  asm("mul.f16x2 %0, %1, %2;" : "=r"(high) : "r"(high), "r"(0x5c005c00U));
#endif
}

/// Four int8 codes as bf16, exactly: the first two, then the others.
__device__ __forceinline__ void int8_to_bf16(std::uint32_t codes, std::uint32_t& low,
                                             std::uint32_t& high) {
  // 128 + the code's low seven bits, less 128, or 256 where it is negative.
  const auto convert = [](std::uint32_t pair) {
    const std::uint32_t bits = pair & 0xff7fff7fU;
    const std::uint32_t base = pair & 0xff80ff80U;
    std::uint32_t value;
    asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(value) : "r"(base), "r"(0xbf80bf80U), "r"(bits));
    return value;
  };
  low = convert(__byte_perm(codes, 0x43434343U, 0x4140));
  high = convert(__byte_perm(codes, 0x43434343U, 0x4342));
}

/// Four int8 codes as f16, exactly: the first two, then the others.
__device__ __forceinline__ void int8_to_f16(std::uint32_t codes, std::uint32_t& low,
                                            std::uint32_t& high) {
  const std::uint32_t unsigned_codes = codes ^ 0x80808080U;
  low = __byte_perm(unsigned_codes, 0x64646464U, 0x4140);  // 1024 + code + 128
  high = __byte_perm(unsigned_codes, 0x64646464U, 0x4342);
  asm("sub.f16x2 %0, %1, %2;" : "=r"(low) : "r"(low), "r"(0x64806480U));  // 1152
  asm("sub.f16x2 %0, %1, %2;" : "=r"(high) : "r"(high), "r"(0x64806480U));
}

template <bool kIsBf16>
__device__ __forceinline__ void int8_to_half(std::uint32_t codes, std::uint32_t& low,
                                             std::uint32_t& high) {
  if constexpr (kIsBf16) {
    int8_to_bf16(codes, low, high);
  } else {
    int8_to_f16(codes, low, high);
  }
}

/// The bits of |x|: as whole numbers they have the order of magnitudes, with infinity behind all
/// numbers and NaN behind infinity.
__device__ __forceinline__ std::uint32_t magnitude_bits(float x) {
  return __float_as_uint(x) & 0x7fffffffU;
}
inline constexpr std::uint32_t kInfinityBits = 0x7f800000U;

/// A power of two that f16 numbers are divided by, and its inverse: brings a magnitude into [2^14,
/// 2^15), the largest that f16 has but for one binade (magnitudes below 2^-112 stay below).
struct F16Scale {
  float scale;
  float inverse;

  /// See magnitude_bits().
  __device__ __forceinline__ explicit F16Scale(std::uint32_t magnitude) {
    constexpr std::uint32_t kExponent = 14U << 23;
    const std::uint32_t bits = max(magnitude & kInfinityBits, kExponent + (1U << 23)) - kExponent;
    scale = __uint_as_float(bits);
    inverse = __uint_as_float((254U << 23) - bits);
  }
};

/// The factor that scales a row to [-most, most]; 0 where it would overflow.
__device__ __forceinline__ float reciprocal_scale(float most, float largest, float least) {
  return largest > least ? __fdiv_rn(most, largest) : 0.0F;
}
__device__ __forceinline__ float scaled_within(float x, float inverse, float most) {
  return fmaxf(fminf(__fmul_rn(x, inverse), most), -most);
}

}  // namespace iol::cuda
