#pragma once
// How a tile reads its right-hand operand: sixteen columns at a time, one step of K after the
// other.
//
// A format names the activation element it is multiplied with, the K elements per step, the bytes
// of sixteen columns of a step, and the two things a tile does: load a step's columns, and add
// activation x columns.
#include <cstdint>
#include <cstring>

namespace iol::cpu {
namespace {

/// True where sums are i32, kept as bits in registers and memory of f32.
template <class Format>
inline constexpr bool kHasIntegerSums = sizeof(typename Format::Activation) == 1;

/// f32 weights [K][16].
template <class S>
struct F32Format {
  using Activation = float;
  using Columns = typename S::F;
  static constexpr int kStep = 1;
  static constexpr int kBlockBytes = 64;
  static Columns load(const std::byte* p) { return S::load(reinterpret_cast<const float*>(p)); }
  static typename S::F accumulate(typename S::F sum, const float* x, const Columns& w) {
    return S::fma(S::broadcast(x[0]), w, sum);
  }
};

/// f16 weights [K][16], widened to f32.
template <class S>
struct F16Format {
  using Activation = float;
  using Columns = typename S::F;
  static constexpr int kStep = 1;
  static constexpr int kBlockBytes = 32;
  static Columns load(const std::byte* p) {
    return S::load_f16(reinterpret_cast<const std::uint16_t*>(p));
  }
  static typename S::F accumulate(typename S::F sum, const float* x, const Columns& w) {
    return S::fma(S::broadcast(x[0]), w, sum);
  }
};

/// bf16 values [K][16], widened to f32: the values of the cache.
template <class S>
struct Bf16RowFormat {
  using Activation = float;
  using Columns = typename S::F;
  static constexpr int kStep = 1;
  static constexpr int kBlockBytes = 32;
  static Columns load(const std::byte* p) {
    return S::load_bf16(reinterpret_cast<const std::uint16_t*>(p));
  }
  static typename S::F accumulate(typename S::F sum, const float* x, const Columns& w) {
    return S::fma(S::broadcast(x[0]), w, sum);
  }
};

/// bf16 weights in pairs along K, [K / 2][16][2], widened to f32.
template <class S>
struct Bf16PairFormat {
  using Activation = float;
  using Columns = typename S::Pair;
  static constexpr int kStep = 2;
  static constexpr int kBlockBytes = 64;
  static Columns load(const std::byte* p) {
    return S::load_bf16_pairs(reinterpret_cast<const std::uint16_t*>(p));
  }
  static typename S::F accumulate(typename S::F sum, const float* x, const Columns& w) {
    return S::fma(S::broadcast(x[1]), w.odd, S::fma(S::broadcast(x[0]), w.even, sum));
  }
};

/// int8 weights in fours along K, [K / 4][16][4], against int8 + 128 activations.
template <class S>
struct Int8Format {
  using Activation = std::uint8_t;
  using Columns = typename S::Bytes;
  static constexpr int kStep = 4;
  static constexpr int kBlockBytes = 64;
  static Columns load(const std::byte* p) { return S::load_bytes(p); }
  static typename S::F accumulate(typename S::F sum, const std::uint8_t* x, const Columns& w) {
    return S::dot_bytes(sum, x, w);
  }
};

#ifdef __AVX512BF16__
/// bf16 weights in pairs along K against bf16 activations: vdpbf16ps, f32 sums.
template <class S>
struct Bf16DotFormat {
  using Activation = std::uint16_t;
  using Columns = __m512i;
  static constexpr int kStep = 2;
  static constexpr int kBlockBytes = 64;
  static Columns load(const std::byte* p) {
    Columns columns = _mm512_loadu_si512(p);
    asm("" : "+v"(columns));  // GCC 12 would load them again for every row
    return columns;
  }
  static __m512 accumulate(__m512 sum, const std::uint16_t* x, const Columns& w) {
    int pair;
    std::memcpy(&pair, x, sizeof(pair));
    return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(_mm512_set1_epi32(pair)),
                            reinterpret_cast<__m512bh>(w));
  }
};
#endif

}  // namespace
}  // namespace iol::cpu
