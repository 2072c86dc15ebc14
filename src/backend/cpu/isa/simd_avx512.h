#pragma once
// Sixteen f32 lanes in one zmm register.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace iol::cpu {
namespace {

struct Avx512 {
  using F = __m512;
  static constexpr int kMaxAccumulators = 24;  // of 32 registers

  static F zero() { return _mm512_setzero_ps(); }
  static F broadcast(float x) { return _mm512_set1_ps(x); }
  static F load(const float* p) { return _mm512_loadu_ps(p); }
  static void store(float* p, F x) { _mm512_storeu_ps(p, x); }
  static F add(F a, F b) { return _mm512_add_ps(a, b); }
  static F sub(F a, F b) { return _mm512_sub_ps(a, b); }
  static F mul(F a, F b) { return _mm512_mul_ps(a, b); }
  static F div(F a, F b) { return _mm512_div_ps(a, b); }
  static F max(F a, F b) { return _mm512_max_ps(a, b); }
  static F min(F a, F b) { return _mm512_min_ps(a, b); }
  /// a * b + c, rounded once.
  static F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
  static F round(F x) {
    return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  /// x * 2^n for integral n.
  static F ldexp(F x, F n) { return _mm512_scalef_ps(x, n); }
  static float reduce_add(F x) { return _mm512_reduce_add_ps(x); }
  static float reduce_max(F x) { return _mm512_reduce_max_ps(x); }
  /// Lanes [begin, end) of x, `fill` elsewhere.
  static F keep_lanes(F x, int begin, int end, float fill) {
    const auto upto = [](int n) { return n >= 16 ? 0xffffU : n <= 0 ? 0U : (1U << n) - 1U; };
    const auto mask = static_cast<__mmask16>(upto(end) & ~upto(begin));
    return _mm512_mask_blend_ps(mask, _mm512_set1_ps(fill), x);
  }

  static F load_bf16(const std::uint16_t* p) {
    const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
  }
  /// Rounds to nearest, ties to even (finite values and infinities; NaN stays NaN).
  static void store_bf16(std::uint16_t* p, F x) {
    const __m512i bits = _mm512_castps_si512(x);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i rounded = _mm512_srli_epi32(
        _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff))), 16);
    const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    const __m512i result = _mm512_mask_blend_epi32(nan, rounded, _mm512_set1_epi32(0x7fc0));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(result));
  }
  static F load_f16(const std::uint16_t* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static void store_f16(std::uint16_t* p, F x) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                        _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }

  /// Sixteen interleaved pairs of bf16, widened.
  struct Pair {
    F even, odd;
  };
  static Pair load_bf16_pairs(const std::uint16_t* p) {
    const __m512i bits = _mm512_loadu_si512(p);
    return {_mm512_castsi512_ps(_mm512_slli_epi32(bits, 16)),
            _mm512_castsi512_ps(
                _mm512_and_si512(bits, _mm512_set1_epi32(static_cast<int>(0xffff0000U))))};
  }
  /// Sixteen groups of four bytes.
  using Bytes = __m512i;
  static Bytes load_bytes(const std::byte* p) { return _mm512_loadu_si512(p); }
  /// i32 sum + the dot product of x[0..4) (unsigned) with each group of w (signed).
  static F dot_bytes(F sum, const std::uint8_t* x, const Bytes& w) {
    int four;
    std::memcpy(&four, x, sizeof(four));
    const __m512i left = _mm512_set1_epi32(four);
    const __m512i total = _mm512_castps_si512(sum);
#ifdef __AVX512VNNI__
    return _mm512_castsi512_ps(_mm512_dpbusd_epi32(total, left, w));
#else
    // Even and odd bytes, widened to i16: products and their sums in pairs are exact in i32.
    const __m512i low = _mm512_set1_epi16(0xff);
    const __m512i even = _mm512_madd_epi16(_mm512_and_si512(left, low),
                                           _mm512_srai_epi16(_mm512_slli_epi16(w, 8), 8));
    const __m512i odd = _mm512_madd_epi16(_mm512_srli_epi16(left, 8), _mm512_srai_epi16(w, 8));
    return _mm512_castsi512_ps(_mm512_add_epi32(total, _mm512_add_epi32(even, odd)));
#endif
  }
  /// i32 bits to f32 values.
  static F from_int(F bits) { return _mm512_cvtepi32_ps(_mm512_castps_si512(bits)); }
  /// Integral lanes in [0, 255] as bytes.
  static void store_bytes(std::uint8_t* p, F x) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(x)));
  }
  static void prefetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0); }
};

}  // namespace
}  // namespace iol::cpu
