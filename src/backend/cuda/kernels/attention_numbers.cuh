#pragma once
// Arithmetic and sizes that the attention kernels with tensor cores share: a row has the same bits
// in each of them.
//
// Codes (int8, E4M3) become f16, exactly, in one instruction for two (E4M3 of 8.9 and later) or
// five for four. f16 has few exponents, so what codes are multiplied with is scaled by powers of
// two (F16Scale), which are taken back in f32:
//   queries  each row by its largest element (query_scales)
//   weights  times their positions' value scales; each row's of a chunk by their largest
// With the largest in [2^14, 2^15), rounding moves an element by 2^-11 of itself or, where that is
// less than half of f16's smallest step, by 2^-25, which is 2^-39 of the largest. (bf16: 2^-8 of
// itself.)
#include <math_constants.h>

#include "backend/cuda/kernels/epilogue.cuh"
#include "backend/cuda/kernels/mma.cuh"

namespace iol::cuda {

inline constexpr int kAttentionWarps = 4;
inline constexpr int kAttentionThreads = 32 * kAttentionWarps;
inline constexpr int kWarpPositions = kChunkPositions / kAttentionWarps;
inline constexpr int kRunsOfChunk = kChunkPositions / 16;
inline constexpr float kLog2E = 1.44269504088896341F;

// --- how numbers of the cache become operands: eight numbers of a unit to a lane

struct HalfCodec {
  using Stored = uint4;
  static constexpr bool kCoded = false;
  /// The lane's numbers of two tiles (cache_offset()): rows g of `first` and of what is `second`
  /// bytes behind it, k 4 q .. 4 q + 3.
  static __device__ __forceinline__ Stored load(const std::byte* first, int second) {
    const int row = static_cast<int>(threadIdx.x) % 32 / 4;
    const int quad = static_cast<int>(threadIdx.x) % 4;
    const std::byte* own = first + row * 32 + (quad / 2 ^ row / 4) * 16 + quad % 2 * 8;
    const uint2 low = *reinterpret_cast<const uint2*>(own);
    const uint2 high = *reinterpret_cast<const uint2*>(own + second);
    return make_uint4(low.x, low.y, high.x, high.y);
  }
  static __device__ __forceinline__ uint4 operand(const Stored& numbers) { return numbers; }
};
struct Bf16Codec : HalfCodec {
  static constexpr bool kIsBf16 = true;
  static __device__ __forceinline__ std::uint32_t pack(float low, float high) {
    return to_bf16_pair(low, high);
  }
  static __device__ __forceinline__ void mma(float (&d)[4], const uint4& a, std::uint32_t b0,
                                             std::uint32_t b1) {
    mma_bf16(d, a.x, a.y, a.z, a.w, b0, b1);
  }
};
struct F16Codec : HalfCodec {
  static constexpr bool kIsBf16 = false;
  static __device__ __forceinline__ std::uint32_t pack(float low, float high) {
    return to_f16_pair(low, high);
  }
  static __device__ __forceinline__ void mma(float (&d)[4], const uint4& a, std::uint32_t b0,
                                             std::uint32_t b1) {
    mma_f16(d, a.x, a.y, a.z, a.w, b0, b1);
  }
};
struct Int8Codec : F16Codec {
  using Stored = uint2;
  static constexpr bool kCoded = true;
  static __device__ __forceinline__ uint4 operand(const Stored& codes) {
    uint4 v;
    int8_to_f16(codes.x, v.x, v.y);
    int8_to_f16(codes.y, v.z, v.w);
    return v;
  }
  static constexpr float kMost = 127.0F;  // a code
  /// The first in the low byte.
  static __device__ __forceinline__ std::uint32_t codes(const float (&x)[4], float inverse) {
    return to_int8(x, inverse);
  }
};
struct Fp8Codec : F16Codec {
  using Stored = uint2;
  static constexpr bool kCoded = true;
  static __device__ __forceinline__ uint4 operand(const Stored& codes) {
    uint4 v;
    e4m3_to_f16(codes.x, v.x, v.y);
    e4m3_to_f16(codes.y, v.z, v.w);
    return v;
  }
  static constexpr float kMost = 448.0F;
  static __device__ __forceinline__ std::uint32_t codes(const float (&x)[4], float inverse) {
    return to_e4m3(x, inverse);
  }
};

/// What a lane holds of a unit of the keys, or values, of the run that begins at `run`; of D / 16 =
/// `units`.
template <class Codec>
__device__ __forceinline__ typename Codec::Stored load_codes(const std::byte* run, int unit) {
  return reinterpret_cast<const typename Codec::Stored*>(run)[unit * 32 + threadIdx.x % 32];
}
template <class Codec>
__device__ __forceinline__ typename Codec::Stored load_key(const std::byte* run, int unit,
                                                           int units) {
  if constexpr (Codec::kCoded)
    return load_codes<Codec>(run, unit);
  else
    return Codec::load(run + unit * 256, units * 256);
}
template <class Codec>
__device__ __forceinline__ typename Codec::Stored load_value(const std::byte* run, int unit) {
  if constexpr (Codec::kCoded)
    return load_codes<Codec>(run, unit);
  else
    return Codec::load(run + unit * 512, 256);
}

/// Of what isn't negative, the largest; not a number is larger than all.
__device__ __forceinline__ std::uint32_t larger(std::uint32_t a, float b, float c) {
  return __vimax3_u32(a, __float_as_uint(b), __float_as_uint(c));
}
__device__ __forceinline__ std::uint32_t largest_of_lanes(std::uint32_t magnitude, int lanes) {
  for (int offset = lanes / 2; offset > 0; offset /= 2)
    magnitude = max(magnitude, __shfl_xor_sync(0xffffffffU, magnitude, offset));
  return magnitude;
}

// --- softmax

/// 2^x, or 0 where that is below 2^-126.
__device__ __forceinline__ float power_of_two(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/// Merges (most, total, sum) of a chunk into what was gathered before it.
struct Merge {
  float old_factor;
  float new_factor;
};
__device__ __forceinline__ Merge merge_factors(float& most, float& total, float part_most,
                                               float part_total) {
  if (part_most == -CUDART_INF_F) return {1.0F, 0.0F};
  const float larger = fmaxf(most, part_most);
  const Merge merge = {most == -CUDART_INF_F ? 0.0F : power_of_two(most - larger),
                       power_of_two(part_most - larger)};
  total = __fmaf_rn(total, merge.old_factor, __fmul_rn(part_total, merge.new_factor));
  most = larger;
  return merge;
}
__device__ __forceinline__ float merged(const Merge& merge, float sum, float part) {
  return __fmaf_rn(sum, merge.old_factor, __fmul_rn(part, merge.new_factor));
}

/// Quotients by one number: x / divisor, rounded to nearest, with one reciprocal for all of them
/// (Markstein's correction; only where quotients are smaller than 2^-100 may the last bit differ,
/// and infinity becomes NaN).
class Quotient {
 public:
  __device__ __forceinline__ explicit Quotient(float divisor) {
    divisor_ = divisor;
    inverse_ = __frcp_rn(divisor);
  }
  __device__ __forceinline__ float operator()(float x) const {
    const float near = __fmul_rn(x, inverse_);
    return __fmaf_rn(__fmaf_rn(-divisor_, near, x), inverse_, near);
  }

 private:
  float divisor_;
  float inverse_;
};

/// Values behind the last position are whatever was there: zero times NaN would be NaN. (Codes are
/// always numbers, see CacheView.)
__device__ __forceinline__ void clear_behind(uint4& values, int last) {
  const int first = threadIdx.x % 4 * 4;
  const std::uint32_t low = (first <= last ? 0xffffU : 0U) | (first + 1 <= last ? 0xffff0000U : 0U);
  const std::uint32_t high =
      (first + 2 <= last ? 0xffffU : 0U) | (first + 3 <= last ? 0xffff0000U : 0U);
  values.x &= low;
  values.y &= high;
  values.z &= low;
  values.w &= high;
}

/// Calls use(Codec()) with the one that knows the cache's elements; f32 has none.
template <class Use>
void with_codec(CacheElement element, const Use& use) {
  switch (element) {
    case CacheElement::kF16:
      return use(F16Codec());
    case CacheElement::kBf16:
      return use(Bf16Codec());
    case CacheElement::kInt8:
      return use(Int8Codec());
    case CacheElement::kFp8:
      return use(Fp8Codec());
    case CacheElement::kF32:
      return;
  }
}

}  // namespace iol::cuda
