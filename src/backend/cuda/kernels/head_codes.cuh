#pragma once
// How a head of keys or values becomes codes: scale = max |x| / most, code = x * (most / max |x|),
// most = 127 or 448, whose factor may be off by two units of the last place; what has NaN or
// infinity in it gets a scale of NaN, so that nobody takes it for numbers.
#include <math_constants.h>

#include "backend/cuda/kernels/number.cuh"

namespace iol::cuda {

/// 1 / x to a unit of the last place, of numbers in [2^-126, 2^126].
__device__ __forceinline__ float reciprocal(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

struct HeadCodes {
  float inverse;
  float scale;

  /// `largest`: see magnitude_bits().
  __device__ __forceinline__ HeadCodes(std::uint32_t largest, float most) {
    const bool is_finite = largest < kInfinityBits;
    const float x = __uint_as_float(largest);
    constexpr float kLeast = 0x1p-115F;  // below it the factor might be infinite
    constexpr float kDown = 0x1p-10F;    // so that the reciprocal of any number is a normal one
    inverse =
        is_finite && x > kLeast ? __fmul_rn(most * kDown, reciprocal(__fmul_rn(x, kDown))) : 0.0F;
    // x / most, rounded to nearest (Markstein; of subnormal scales the last bit may differ).
    const float one = 1.0F / most;
    const float near = __fmul_rn(x, one);
    scale = is_finite ? __fmaf_rn(__fmaf_rn(-most, near, x), one, near) : CUDART_NAN_F;
  }
};

}  // namespace iol::cuda
