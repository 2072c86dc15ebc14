#pragma once
// Arithmetic at full speed and nothing else: what `iol doctor` measures a processor's peaks with.
#include <cstdint>

#include "backend/cpu/isa/formats.h"

namespace iol::cpu {
namespace {

/// Keeps a result from being optimized away.
inline void consume(float value) { asm volatile("" : : "g"(value)); }

/// Different numbers that the compiler can't know, so that no two accumulators are one to it.
inline const float* opaque_numbers() {
  alignas(64) static const float numbers[32 * 16] = {1e-3F, 2e-3F};
  const float* pointer = numbers;
  asm volatile("" : "+r"(pointer) : : "memory");
  return pointer;
}

/// `kCount` accumulators, each going through `step` once a round; `reduce` takes the end of each.
/// All loops are unrolled, so that the accumulators stay in registers.
template <int kCount, class Load, class Step, class Reduce>
inline void run_rounds(std::int64_t rounds, Load&& load, Step&& step, Reduce&& reduce) {
  const float* numbers = opaque_numbers();
  decltype(load(numbers)) sum[kCount];
#pragma GCC unroll 32
  for (int i = 0; i < kCount; ++i) sum[i] = load(numbers + i * 16);
  for (std::int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 32
    for (int i = 0; i < kCount; ++i) sum[i] = step(sum[i]);
  }
#pragma GCC unroll 32
  for (int i = 0; i < kCount; ++i) consume(reduce(sum[i]));
}

/// Multiply-adds of sixteen f32 lanes; returns the number of operations (a multiply and an add are
/// two).
template <class S>
std::int64_t peak_f32(std::int64_t rounds) {
  const auto x = S::load(opaque_numbers());
  run_rounds<S::kMaxAccumulators>(
      rounds, S::load, [&](typename S::F sum) { return S::fma(sum, x, x); },
      [](typename S::F sum) { return S::reduce_add(sum); });
  return rounds * S::kMaxAccumulators * 16 * 2;
}

#if defined(__AVX512VNNI__)
/// Dot products of int8 quadruples into sixteen int32 lanes.
inline std::int64_t peak_int8(std::int64_t rounds) {
  constexpr int kAccumulators = 24;
  const __m512i x = _mm512_loadu_si512(opaque_numbers());
  run_rounds<kAccumulators>(
      rounds, [](const float* p) { return _mm512_loadu_si512(p); },
      [&](__m512i sum) { return _mm512_dpbusd_epi32(sum, x, x); },
      [](__m512i sum) { return static_cast<float>(_mm512_reduce_add_epi32(sum)); });
  return rounds * kAccumulators * 64 * 2;
}
#elif defined(__AVXVNNI__)
/// Dot products of int8 quadruples into eight int32 lanes.
inline std::int64_t peak_int8(std::int64_t rounds) {
  constexpr int kAccumulators = 12;
  const auto load = [](const float* p) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  };
  const __m256i x = load(opaque_numbers());
  run_rounds<kAccumulators>(
      rounds, load, [&](__m256i sum) { return _mm256_dpbusd_avx_epi32(sum, x, x); },
      [](__m256i sum) { return static_cast<float>(_mm256_extract_epi32(sum, 0)); });
  return rounds * kAccumulators * 32 * 2;
}
#endif

#ifdef __AVX512BF16__
/// Dot products of bf16 pairs into sixteen f32 lanes.
inline std::int64_t peak_bf16(std::int64_t rounds) {
  constexpr int kAccumulators = 24;
  const auto x = reinterpret_cast<__m512bh>(_mm512_loadu_si512(opaque_numbers()));
  run_rounds<kAccumulators>(
      rounds, [](const float* p) { return _mm512_loadu_ps(p); },
      [&](__m512 sum) { return _mm512_dpbf16_ps(sum, x, x); },
      [](__m512 sum) { return _mm512_reduce_add_ps(sum); });
  return rounds * kAccumulators * 32 * 2;
}
#endif

}  // namespace
}  // namespace iol::cpu
