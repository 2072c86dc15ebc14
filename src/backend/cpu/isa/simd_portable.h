#pragma once
// Sixteen f32 lanes in plain C++: loops that any compiler turns into what the target has.
// Compiled with the program's own flags, so it may use the library's scalar conversions.
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/dtype.h"

namespace iol::cpu {
namespace {

struct Portable {
  struct F {
    float lane[16];
  };
  static constexpr int kMaxAccumulators = 4;
  static constexpr bool kHalvesPanels = false;
  static constexpr std::int64_t kAheadBytes = 4096;

  template <class Function>
  static F each(Function&& function) {
    F result;
    for (int i = 0; i < 16; ++i) result.lane[i] = function(i);
    return result;
  }

  static F zero() { return broadcast(0.0F); }
  static F broadcast(float x) {
    return each([&](int) { return x; });
  }
  static F load(const float* p) {
    return each([&](int i) { return p[i]; });
  }
  static void store(float* p, const F& x) {
    for (int i = 0; i < 16; ++i) p[i] = x.lane[i];
  }
  static F add(const F& a, const F& b) {
    return each([&](int i) { return a.lane[i] + b.lane[i]; });
  }
  static F sub(const F& a, const F& b) {
    return each([&](int i) { return a.lane[i] - b.lane[i]; });
  }
  static F mul(const F& a, const F& b) {
    return each([&](int i) { return a.lane[i] * b.lane[i]; });
  }
  static F div(const F& a, const F& b) {
    return each([&](int i) { return a.lane[i] / b.lane[i]; });
  }
  static F max(const F& a, const F& b) {
    return each([&](int i) { return a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]; });
  }
  static F min(const F& a, const F& b) {
    return each([&](int i) { return a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i]; });
  }
  /// a * b + c, rounded twice: the same everywhere on this level, which is what invariance needs.
  static F fma(const F& a, const F& b, const F& c) {
    return each([&](int i) { return a.lane[i] * b.lane[i] + c.lane[i]; });
  }
  static F round(const F& x) {
    return each([&](int i) { return std::nearbyintf(x.lane[i]); });
  }
  static F ldexp(const F& x, const F& n) {
    return each([&](int i) { return std::ldexp(x.lane[i], static_cast<int>(n.lane[i])); });
  }
  static float reduce_add(const F& x) {
    float sum[8];
    for (int i = 0; i < 8; ++i) sum[i] = x.lane[i] + x.lane[i + 8];
    for (int width = 4; width > 0; width /= 2) {
      for (int i = 0; i < width; ++i) sum[i] += sum[i + width];
    }
    return sum[0];
  }
  static float reduce_max(const F& x) {
    float most = x.lane[0];
    for (int i = 1; i < 16; ++i) most = x.lane[i] > most ? x.lane[i] : most;
    return most;
  }
  /// Lanes [begin, end) of x, `fill` elsewhere.
  static F keep_lanes(const F& x, int begin, int end, float fill) {
    return each([&](int i) { return i >= begin && i < end ? x.lane[i] : fill; });
  }

  static F load_bf16(const std::uint16_t* p) {
    return each([&](int i) { return bf16_to_f32(p[i]); });
  }
  static void store_bf16(std::uint16_t* p, const F& x) {
    for (int i = 0; i < 16; ++i) p[i] = f32_to_bf16(x.lane[i]);
  }
  static F load_f16(const std::uint16_t* p) {
    return each([&](int i) { return f16_to_f32(p[i]); });
  }
  static void store_f16(std::uint16_t* p, const F& x) {
    for (int i = 0; i < 16; ++i) p[i] = f32_to_f16(x.lane[i]);
  }

  /// Sixteen interleaved pairs of bf16, widened.
  struct Pair {
    F even, odd;
  };
  static Pair load_bf16_pairs(const std::uint16_t* p) {
    return {each([&](int i) { return bf16_to_f32(p[2 * i]); }),
            each([&](int i) { return bf16_to_f32(p[2 * i + 1]); })};
  }
  /// Sixteen groups of four bytes.
  struct Bytes {
    std::int8_t byte[64];
  };
  static Bytes load_bytes(const std::byte* p) {
    Bytes bytes;
    std::memcpy(bytes.byte, p, sizeof(bytes.byte));
    return bytes;
  }
  static void store_bytes(std::byte* p, const Bytes& w) { std::memcpy(p, w.byte, sizeof(w.byte)); }
  /// i32 sum + the dot product of x[0..4) (unsigned) with each group of w (signed).
  static F dot_bytes(const F& sum, const std::uint8_t* x, const Bytes& w) {
    return each([&](int i) {
      auto total = std::bit_cast<std::int32_t>(sum.lane[i]);
      for (int j = 0; j < 4; ++j) total += x[j] * w.byte[4 * i + j];
      return std::bit_cast<float>(total);
    });
  }
  /// i32 sum + the dot product of each group of w (unsigned, at most 15) with x[0..4) (signed).
  static F dot_nibbles(const F& sum, const Bytes& w, const std::int8_t* x) {
    return each([&](int i) {
      auto total = std::bit_cast<std::int32_t>(sum.lane[i]);
      for (int j = 0; j < 4; ++j) total += x[j] * w.byte[4 * i + j];
      return std::bit_cast<float>(total);
    });
  }
  static Bytes low_nibbles(const Bytes& w) {
    Bytes low;
    for (int i = 0; i < 64; ++i) low.byte[i] = static_cast<std::int8_t>(w.byte[i] & 15);
    return low;
  }
  static Bytes high_nibbles(const Bytes& w) {
    Bytes high;
    for (int i = 0; i < 64; ++i) high.byte[i] = static_cast<std::int8_t>((w.byte[i] >> 4) & 15);
    return high;
  }

  /// Sixteen int8 or E4M3 codes as f32.
  static F load_int8(const std::byte* p) {
    return each([&](int i) { return static_cast<float>(static_cast<std::int8_t>(p[i])); });
  }
  static F load_fp8(const std::byte* p) {
    return each([&](int i) { return e4m3_to_f32(static_cast<std::uint8_t>(p[i])); });
  }
  /// Sixteen groups of four codes as f32: out[j] holds code j of every group.
  static void widen_int8(const std::byte* p, F* out) {
    for (int j = 0; j < 4; ++j) {
      out[j] =
          each([&](int i) { return static_cast<float>(static_cast<std::int8_t>(p[4 * i + j])); });
    }
  }
  /// E4M3 numbers are widened to multiples of this: to themselves.
  static constexpr float kFp8Unit = 1.0F;
  static void widen_fp8(const std::byte* p, F* out) {
    for (int j = 0; j < 4; ++j)
      out[j] = each([&](int i) { return e4m3_to_f32(static_cast<std::uint8_t>(p[4 * i + j])); });
  }
  /// The nearest E4M3 number, ties to even; |x| is at most 448.
  static F round_fp8(const F& x) {
    return each([&](int i) { return e4m3_to_f32(f32_to_e4m3(x.lane[i])); });
  }
  /// i32 bits to f32 values.
  static F from_int(const F& bits) {
    return each(
        [&](int i) { return static_cast<float>(std::bit_cast<std::int32_t>(bits.lane[i])); });
  }
  /// Integral lanes in [0, 255] as bytes.
  static void store_bytes(std::uint8_t* p, const F& x) {
    for (int i = 0; i < 16; ++i) p[i] = static_cast<std::uint8_t>(x.lane[i]);
  }
  /// Integral lanes in [-128, 127] as bytes.
  static void store_signed_bytes(std::int8_t* p, const F& x) {
    for (int i = 0; i < 16; ++i) p[i] = static_cast<std::int8_t>(x.lane[i]);
  }
  static void prefetch(const void*) {}
};

}  // namespace
}  // namespace iol::cpu
