#pragma once
// Sixteen f32 lanes in one zmm register.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "backend/cpu/isa/code_tables.h"

namespace iol::cpu {
namespace {

struct Avx512 {
  using F = __m512;
  static constexpr int kMaxAccumulators = 24;  // of 32 registers
  // What a single pass over weights fetches ahead of its loads. AMD's Zen 4 streams weights from
  // its last-level cache a third faster when that is left to the hardware, and two to four rows'
  // weights from memory a sixth faster (measured).
#ifdef __AVX512BF16__
  static constexpr bool kHalvesPanels = true;
  static constexpr std::int64_t kAheadBytes = 0;
#else
  static constexpr bool kHalvesPanels = false;
  static constexpr std::int64_t kAheadBytes = 4096;
#endif

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
  static void store_bytes(std::byte* p, const Bytes& w) { _mm512_storeu_si512(p, w); }
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
  /// i32 sum + the dot product of each group of w (unsigned, at most 15) with x[0..4) (signed).
  static F dot_nibbles(F sum, const Bytes& w, const std::int8_t* x) {
    int four;
    std::memcpy(&four, x, sizeof(four));
    const __m512i right = _mm512_set1_epi32(four);
    const __m512i total = _mm512_castps_si512(sum);
#ifdef __AVX512VNNI__
    return _mm512_castsi512_ps(_mm512_dpbusd_epi32(total, w, right));
#else
    // 2 * 15 * 127 fits i16: exact.
    const __m512i pairs = _mm512_maddubs_epi16(w, right);
    return _mm512_castsi512_ps(
        _mm512_add_epi32(total, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1))));
#endif
  }
  static Bytes low_nibbles(const Bytes& w) { return _mm512_and_si512(w, _mm512_set1_epi8(15)); }
  static Bytes high_nibbles(const Bytes& w) { return low_nibbles(_mm512_srli_epi16(w, 4)); }

  /// Sixteen int8 or E4M3 codes as f32.
  static F load_int8(const std::byte* p) {
    return _mm512_cvtepi32_ps(
        _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
  }
  static F load_fp8(const std::byte* p) {
    const __m512i codes =
        _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    return fp8_at_top(_mm512_slli_epi32(codes, 24));
  }
  /// Sixteen groups of four codes as f32: out[j] holds code j of every group.
  static void widen_int8(const std::byte* p, F* out) {
    const __m512i codes = _mm512_loadu_si512(p);
    out[0] = _mm512_cvtepi32_ps(_mm512_srai_epi32(_mm512_slli_epi32(codes, 24), 24));
    out[1] = _mm512_cvtepi32_ps(_mm512_srai_epi32(_mm512_slli_epi32(codes, 16), 24));
    out[2] = _mm512_cvtepi32_ps(_mm512_srai_epi32(_mm512_slli_epi32(codes, 8), 24));
    out[3] = _mm512_cvtepi32_ps(_mm512_srai_epi32(codes, 24));
  }
  /// E4M3 numbers are widened to multiples of this: 1 / 256 of themselves.
  static constexpr float kFp8Unit = 256.0F;
  static void widen_fp8(const std::byte* p, F* out) {
    const __m512i codes = _mm512_loadu_si512(p);
    // Subnormal numbers and zeros are rare among weights; what takes them costs twice as much, and
    // a trap into microcode where its multiplication meets a subnormal f32.
    if (_mm512_testn_epi8_mask(codes, _mm512_set1_epi8(0x78)) == 0) {
      for (int j = 0; j < 4; ++j) out[j] = normal_fp8(_mm512_slli_epi32(codes, 24 - 8 * j));
      return;
    }
    for (int j = 0; j < 4; ++j) {
      out[j] = mul(fp8_at_top(_mm512_slli_epi32(codes, 24 - 8 * j)), broadcast(1 / kFp8Unit));
    }
  }
  /// The nearest E4M3 number, ties to even; |x| is at most 448.
  static F round_fp8(F x) {
    const __m512i bits = _mm512_castps_si512(x);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 20), _mm512_set1_epi32(1));
    const __m512i rounded =
        _mm512_and_si512(_mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7ffff))),
                         _mm512_set1_epi32(static_cast<int>(0xfff00000U)));
    // Below 2^-6 the steps are 2^-9.
    const __m512 fine = _mm512_roundscale_ps(x, 9 << 4 | _MM_FROUND_TO_NEAREST_INT);
    const __mmask16 small =
        _mm512_cmp_ps_mask(_mm512_abs_ps(x), _mm512_set1_ps(0x1p-6F), _CMP_LT_OQ);
    return _mm512_mask_blend_ps(small, _mm512_castsi512_ps(rounded), fine);
  }
#ifdef __AVX512VBMI__
  /// Sixteen groups of four codes as bf16: codes 0 and 1 of every group as a pair, then 2 and 3.
  /// `table` has the bf16 of the magnitudes; `codes` are sign and magnitude.
  static void widen_pairs(__m512i signs, __m512i magnitudes, const Bf16OfCode& table,
                          __m512i* out) {
    const auto look_up = [&](const std::uint8_t* bytes) {
      return _mm512_permutex2var_epi8(_mm512_load_si512(bytes), magnitudes,
                                      _mm512_load_si512(bytes + 64));
    };
    const __m512i low = look_up(table.low);
    // a | (b & c)
    const __m512i high = _mm512_ternarylogic_epi32(look_up(table.high), signs,
                                                   _mm512_set1_epi8(static_cast<char>(0x80)), 0xf8);
    out[0] = _mm512_unpacklo_epi8(low, high);
    out[1] = _mm512_unpackhi_epi8(low, high);
  }
  /// In a 128-bit lane, codes 0 and 1 of the four groups first, so that unpacking keeps groups in
  /// order.
  static __m512i pairs_first(__m512i codes) {
    return _mm512_shuffle_epi8(codes, _mm512_broadcast_i32x4(_mm_setr_epi8(
                                          0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15)));
  }
  static void widen_int8_pairs(const std::byte* p, __m512i* out) {
    const __m512i codes = pairs_first(_mm512_loadu_si512(p));
    widen_pairs(codes, _mm512_abs_epi8(codes), kBf16OfInt8, out);
  }
  static void widen_fp8_pairs(const std::byte* p, __m512i* out) {
    const __m512i codes = pairs_first(_mm512_loadu_si512(p));
    // The look-up reads seven bits of an index.
    widen_pairs(codes, codes, kBf16OfFp8, out);
  }
#endif
  /// i32 bits to f32 values.
  static F from_int(F bits) { return _mm512_cvtepi32_ps(_mm512_castps_si512(bits)); }
  /// Integral lanes in [0, 255] as bytes.
  static void store_bytes(std::uint8_t* p, F x) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(x)));
  }
  /// Integral lanes in [-128, 127] as bytes.
  static void store_signed_bytes(std::int8_t* p, F x) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(x)));
  }
  static void prefetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T1); }

 private:
  /// E4M3 codes in the top byte of each lane (what lies below is ignored) as f32: exponent and
  /// mantissa moved into place are the number times 2^-120, subnormals included.
  static F fp8_at_top(__m512i bits) {
    const __m512i magnitude =
        _mm512_and_si512(_mm512_srli_epi32(bits, 4), _mm512_set1_epi32(0x07f00000));
    const __m512 scaled = _mm512_mul_ps(_mm512_castsi512_ps(magnitude), _mm512_set1_ps(0x1p120F));
    const __m512i sign = _mm512_and_si512(bits, _mm512_set1_epi32(static_cast<int>(0x80000000U)));
    return _mm512_castsi512_ps(_mm512_or_si512(_mm512_castps_si512(scaled), sign));
  }
  /// 1 / 256 of the same for codes whose exponent is not 0: 112 instead of 120 is added to it,
  /// which its four bits leave room to do with an or.
  static F normal_fp8(__m512i bits) {
    const __m512i in_place =
        _mm512_and_si512(_mm512_srai_epi32(bits, 4), _mm512_set1_epi32(-0x78100000));
    return _mm512_castsi512_ps(_mm512_or_si512(in_place, _mm512_set1_epi32(112 << 23)));
  }
};

}  // namespace
}  // namespace iol::cpu
