#pragma once
// Sixteen f32 lanes in two ymm registers.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace iol::cpu {
namespace {

struct Avx2 {
  struct F {
    __m256 lo, hi;
  };
  static constexpr int kMaxAccumulators = 6;  // twelve of 16 registers
  static constexpr bool kHalvesPanels = false;
  static constexpr std::int64_t kAheadBytes = 4096;

  static F zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
  static F broadcast(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
  static F load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
  static void store(float* p, F x) {
    _mm256_storeu_ps(p, x.lo);
    _mm256_storeu_ps(p + 8, x.hi);
  }
  static F add(F a, F b) { return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)}; }
  static F sub(F a, F b) { return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)}; }
  static F mul(F a, F b) { return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)}; }
  static F div(F a, F b) { return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)}; }
  static F max(F a, F b) { return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)}; }
  static F min(F a, F b) { return {_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)}; }
  /// a * b + c, rounded once.
  static F fma(F a, F b, F c) {
    return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
  }
  static F round(F x) {
    constexpr int kMode = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    return {_mm256_round_ps(x.lo, kMode), _mm256_round_ps(x.hi, kMode)};
  }
  /// x * 2^n for integral n in [-252, 254]: two factors, so that subnormal results come out right.
  static F ldexp(F x, F n) {
    const auto half = [](__m256 value, __m256 exponent) {
      const __m256i e = _mm256_cvtps_epi32(exponent);
      const __m256i first = _mm256_srai_epi32(e, 1);
      const __m256i second = _mm256_sub_epi32(e, first);
      const auto power = [](__m256i k) {
        return _mm256_castsi256_ps(
            _mm256_slli_epi32(_mm256_add_epi32(k, _mm256_set1_epi32(127)), 23));
      };
      return _mm256_mul_ps(_mm256_mul_ps(value, power(first)), power(second));
    };
    return {half(x.lo, n.lo), half(x.hi, n.hi)};
  }
  static float reduce_add(F x) {
    const __m256 sum = _mm256_add_ps(x.lo, x.hi);
    __m128 quad = _mm_add_ps(_mm256_castps256_ps128(sum), _mm256_extractf128_ps(sum, 1));
    quad = _mm_add_ps(quad, _mm_movehl_ps(quad, quad));
    return _mm_cvtss_f32(_mm_add_ss(quad, _mm_shuffle_ps(quad, quad, 1)));
  }
  static float reduce_max(F x) {
    const __m256 most = _mm256_max_ps(x.lo, x.hi);
    __m128 quad = _mm_max_ps(_mm256_castps256_ps128(most), _mm256_extractf128_ps(most, 1));
    quad = _mm_max_ps(quad, _mm_movehl_ps(quad, quad));
    return _mm_cvtss_f32(_mm_max_ss(quad, _mm_shuffle_ps(quad, quad, 1)));
  }
  /// Lanes [begin, end) of x, `fill` elsewhere.
  static F keep_lanes(F x, int begin, int end, float fill) {
    const auto half = [&](__m256 value, int base) {
      const __m256i lane =
          _mm256_add_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), _mm256_set1_epi32(base));
      const __m256i inside = _mm256_andnot_si256(_mm256_cmpgt_epi32(_mm256_set1_epi32(begin), lane),
                                                 _mm256_cmpgt_epi32(_mm256_set1_epi32(end), lane));
      return _mm256_blendv_ps(_mm256_set1_ps(fill), value, _mm256_castsi256_ps(inside));
    };
    return {half(x.lo, 0), half(x.hi, 8)};
  }

  static F load_bf16(const std::uint16_t* p) {
    const auto half = [](const std::uint16_t* q) {
      const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(q));
      return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
    };
    return {half(p), half(p + 8)};
  }
  /// Rounds to nearest, ties to even; NaN stays NaN.
  static void store_bf16(std::uint16_t* p, F x) {
    const auto half = [](__m256 value) {
      const __m256i bits = _mm256_castps_si256(value);
      const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
      const __m256i rounded = _mm256_srli_epi32(
          _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff))), 16);
      const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(value, value, _CMP_UNORD_Q));
      return _mm256_blendv_epi8(rounded, _mm256_set1_epi32(0x7fc0), nan);
    };
    const __m256i packed = _mm256_packus_epi32(half(x.lo), half(x.hi));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_permute4x64_epi64(packed, 0xd8));
  }
  static F load_f16(const std::uint16_t* p) {
    return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))),
            _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 8)))};
  }
  static void store_f16(std::uint16_t* p, F x) {
    constexpr int kMode = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(x.lo, kMode));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p + 8), _mm256_cvtps_ph(x.hi, kMode));
  }

  /// Sixteen interleaved pairs of bf16, widened.
  struct Pair {
    F even, odd;
  };
  static Pair load_bf16_pairs(const std::uint16_t* p) {
    const __m256i high = _mm256_set1_epi32(static_cast<int>(0xffff0000U));
    const __m256i first = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    const __m256i second = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 16));
    const auto even = [](__m256i bits) { return _mm256_castsi256_ps(_mm256_slli_epi32(bits, 16)); };
    const auto odd = [&](__m256i bits) {
      return _mm256_castsi256_ps(_mm256_and_si256(bits, high));
    };
    return {{even(first), even(second)}, {odd(first), odd(second)}};
  }
  /// Sixteen groups of four bytes.
  struct Bytes {
    __m256i lo, hi;
  };
  static Bytes load_bytes(const std::byte* p) {
    return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)),
            _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 32))};
  }
  static void store_bytes(std::byte* p, const Bytes& w) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), w.lo);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p + 32), w.hi);
  }
  /// i32 sum + the dot product of x[0..4) (unsigned) with each group of w (signed).
  static F dot_bytes(F sum, const std::uint8_t* x, const Bytes& w) {
    int four;
    std::memcpy(&four, x, sizeof(four));
    const __m256i left = _mm256_set1_epi32(four);
#ifdef __AVXVNNI__
    return {dot_fours(sum.lo, left, w.lo), dot_fours(sum.hi, left, w.hi)};
#else
    // Even and odd bytes, widened to i16: products and their sums in pairs are exact in i32.
    const __m256i left_even = _mm256_and_si256(left, _mm256_set1_epi16(0xff));
    const __m256i left_odd = _mm256_srli_epi16(left, 8);
    const auto half = [&](__m256 total, __m256i right) {
      const __m256i even =
          _mm256_madd_epi16(left_even, _mm256_srai_epi16(_mm256_slli_epi16(right, 8), 8));
      const __m256i odd = _mm256_madd_epi16(left_odd, _mm256_srai_epi16(right, 8));
      return _mm256_castsi256_ps(
          _mm256_add_epi32(_mm256_castps_si256(total), _mm256_add_epi32(even, odd)));
    };
    return {half(sum.lo, w.lo), half(sum.hi, w.hi)};
#endif
  }
  /// i32 sum + the dot product of each group of w (unsigned, at most 15) with x[0..4) (signed).
  static F dot_nibbles(F sum, const Bytes& w, const std::int8_t* x) {
    int four;
    std::memcpy(&four, x, sizeof(four));
    const __m256i right = _mm256_set1_epi32(four);
#ifdef __AVXVNNI__
    return {dot_fours(sum.lo, w.lo, right), dot_fours(sum.hi, w.hi, right)};
#else
    // 2 * 15 * 127 fits i16: exact.
    const auto half = [&](__m256 total, __m256i left) {
      const __m256i pairs = _mm256_maddubs_epi16(left, right);
      return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(total),
                                                  _mm256_madd_epi16(pairs, _mm256_set1_epi16(1))));
    };
    return {half(sum.lo, w.lo), half(sum.hi, w.hi)};
#endif
  }
  static Bytes low_nibbles(const Bytes& w) {
    const __m256i mask = _mm256_set1_epi8(15);
    return {_mm256_and_si256(w.lo, mask), _mm256_and_si256(w.hi, mask)};
  }
  static Bytes high_nibbles(const Bytes& w) {
    return low_nibbles({_mm256_srli_epi16(w.lo, 4), _mm256_srli_epi16(w.hi, 4)});
  }

  /// Sixteen int8 or E4M3 codes as f32.
  static F load_int8(const std::byte* p) {
    const auto half = [](const std::byte* q) {
      return _mm256_cvtepi32_ps(
          _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(q))));
    };
    return {half(p), half(p + 8)};
  }
  static F load_fp8(const std::byte* p) {
    const auto half = [](const std::byte* q) {
      const __m256i codes =
          _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(q)));
      return fp8_at_top(_mm256_slli_epi32(codes, 24));
    };
    return {half(p), half(p + 8)};
  }
  /// Sixteen groups of four codes as f32: out[j] holds code j of every group.
  static void widen_int8(const std::byte* p, F* out) {
    const Bytes codes = load_bytes(p);
    const auto column = [&](int shift) {
      const auto half = [&](__m256i c) {
        return _mm256_cvtepi32_ps(_mm256_srai_epi32(_mm256_slli_epi32(c, shift), 24));
      };
      return F{half(codes.lo), half(codes.hi)};
    };
    for (int j = 0; j < 4; ++j) out[j] = column(24 - 8 * j);
  }
  /// E4M3 numbers are widened to multiples of this: to themselves.
  static constexpr float kFp8Unit = 1.0F;
  static void widen_fp8(const std::byte* p, F* out) {
    const Bytes codes = load_bytes(p);
    for (int j = 0; j < 4; ++j) {
      out[j] = {fp8_at_top(_mm256_slli_epi32(codes.lo, 24 - 8 * j)),
                fp8_at_top(_mm256_slli_epi32(codes.hi, 24 - 8 * j))};
    }
  }
  /// The nearest E4M3 number, ties to even; |x| is at most 448.
  static F round_fp8(F x) {
    const auto half = [](__m256 value) {
      const __m256i bits = _mm256_castps_si256(value);
      const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 20), _mm256_set1_epi32(1));
      const __m256i rounded = _mm256_and_si256(
          _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7ffff))),
          _mm256_set1_epi32(static_cast<int>(0xfff00000U)));
      // Below 2^-6 the steps are 2^-9.
      const __m256 fine =
          _mm256_mul_ps(_mm256_round_ps(_mm256_mul_ps(value, _mm256_set1_ps(512.0F)),
                                        _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
                        _mm256_set1_ps(0x1p-9F));
      const __m256 size = _mm256_andnot_ps(_mm256_set1_ps(-0.0F), value);
      const __m256 small = _mm256_cmp_ps(size, _mm256_set1_ps(0x1p-6F), _CMP_LT_OQ);
      return _mm256_blendv_ps(_mm256_castsi256_ps(rounded), fine, small);
    };
    return {half(x.lo), half(x.hi)};
  }
  /// i32 bits to f32 values.
  static F from_int(F bits) {
    return {_mm256_cvtepi32_ps(_mm256_castps_si256(bits.lo)),
            _mm256_cvtepi32_ps(_mm256_castps_si256(bits.hi))};
  }
  /// Integral lanes in [0, 255] as bytes.
  static void store_bytes(std::uint8_t* p, F x) {
    const __m256i words = _mm256_permute4x64_epi64(
        _mm256_packs_epi32(_mm256_cvtps_epi32(x.lo), _mm256_cvtps_epi32(x.hi)), 0xd8);
    _mm_storeu_si128(
        reinterpret_cast<__m128i*>(p),
        _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
  }
  /// Integral lanes in [-128, 127] as bytes.
  static void store_signed_bytes(std::int8_t* p, F x) {
    const __m256i words = _mm256_permute4x64_epi64(
        _mm256_packs_epi32(_mm256_cvtps_epi32(x.lo), _mm256_cvtps_epi32(x.hi)), 0xd8);
    _mm_storeu_si128(
        reinterpret_cast<__m128i*>(p),
        _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
  }
  static void prefetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0); }

 private:
#ifdef __AVXVNNI__
  /// i32 sum + the dot products of fours of bytes: u8 with i8.
  static __m256 dot_fours(__m256 sum, __m256i bytes, __m256i signed_bytes) {
    return _mm256_castsi256_ps(
        _mm256_dpbusd_avx_epi32(_mm256_castps_si256(sum), bytes, signed_bytes));
  }
#endif
  /// E4M3 codes in the top byte of each lane (what lies below is ignored) as f32: exponent and
  /// mantissa moved into place are the number times 2^-120, subnormals included.
  static __m256 fp8_at_top(__m256i bits) {
    const __m256i magnitude =
        _mm256_and_si256(_mm256_srli_epi32(bits, 4), _mm256_set1_epi32(0x07f00000));
    const __m256 scaled = _mm256_mul_ps(_mm256_castsi256_ps(magnitude), _mm256_set1_ps(0x1p120F));
    const __m256 sign = _mm256_and_ps(_mm256_castsi256_ps(bits), _mm256_set1_ps(-0.0F));
    return _mm256_or_ps(scaled, sign);
  }
};

}  // namespace
}  // namespace iol::cpu
