#pragma once
// x W^T for weights of one byte that are multiplied as bf16 or f32 numbers: a block of a panel is
// widened into scratch that stays in the first-level cache, then every row passes over it.
#include <cstdint>

#include "backend/cpu/isa/linear.h"

namespace iol::cpu {
namespace {

/// Codes of one byte to numbers, in f32 as multiples of kUnit.
template <class S>
struct Int8Codes {
  static constexpr float kUnit = 1.0F;
  static void widen(const std::byte* p, typename S::F* out) { S::widen_int8(p, out); }
#ifdef __AVX512VBMI__
  static void widen_pairs(const std::byte* p, __m512i* out) { S::widen_int8_pairs(p, out); }
#endif
};

template <class S>
struct Fp8Codes {
  static constexpr float kUnit = S::kFp8Unit;
  static void widen(const std::byte* p, typename S::F* out) { S::widen_fp8(p, out); }
#ifdef __AVX512VBMI__
  static void widen_pairs(const std::byte* p, __m512i* out) { S::widen_fp8_pairs(p, out); }
#endif
};

/// Widens `fours` groups of four columns of K, [fours][64][4] codes, into the layout that Wide
/// reads: f32 [4 fours][64], or bf16 [2 fours][64][2]. Fetches what is kAheadBytes ahead, unless
/// that is 0.
template <class S, class Wide, class Codes, std::int64_t kAheadBytes = 0>
inline void widen_block(const std::byte* codes, std::int64_t fours, std::byte* out) {
  for (std::int64_t four = 0; four < fours; ++four) {
#pragma GCC unroll 4
    for (int b = 0; b < 4; ++b, codes += 64) {
      if constexpr (kAheadBytes > 0) S::prefetch(codes + kAheadBytes);
#ifdef __AVX512VBMI__
      if constexpr (Wide::kStep == 2) {
        __m512i pairs[2];
        Codes::widen_pairs(codes, pairs);
        _mm512_store_si512(out + b * 64, pairs[0]);
        _mm512_store_si512(out + b * 64 + 256, pairs[1]);
        continue;
      }
#endif
      typename S::F columns[4];
      Codes::widen(codes, columns);
      auto* values = reinterpret_cast<float*>(out) + b * 16;
      for (int j = 0; j < 4; ++j) S::store(values + j * kPanelColumns, columns[j]);
    }
    out += 4 / Wide::kStep * 4 * Wide::kBlockBytes;
  }
}

/// What sums of products with widened codes are multiples of.
template <class Wide, class Codes>
constexpr float unit_of_sums() {
#ifdef __AVX512VBMI__
  if (Wide::kStep == 2) return 1.0F;  // pairs of bf16 are widened through tables
#endif
  return Codes::kUnit;
}

/// Codes widened to f32 in registers on their way into a tile of few rows; in the order of
/// F32Format.
template <class S, class Wide, class Codes>
struct CodesFormat {
  using Activation = float;
  struct Columns {
    typename S::F column[4];
  };
  static constexpr int kStep = 4;
  static constexpr int kBlockBytes = 64;
  static constexpr std::int64_t kMostRows = S::kMaxAccumulators >= 16 ? 2 : 0;
  static Columns load(const std::byte* p) {
    Columns columns;
    Codes::widen(p, columns.column);
    return columns;
  }
  static typename S::F accumulate(typename S::F sum, const float* x, const Columns& w) {
    for (int j = 0; j < 4; ++j) sum = S::fma(S::broadcast(x[j]), w.column[j], sum);
    return sum;
  }
};

#ifdef __AVX512VBMI__
/// The same as pairs of bf16, in the order of Bf16DotFormat.
template <class S, class Codes>
struct CodesFormat<S, Bf16DotFormat<S>, Codes> {
  using Wide = Bf16DotFormat<S>;
  using Activation = std::uint16_t;
  struct Columns {
    __m512i pairs[2];
  };
  static constexpr int kStep = 4;
  static constexpr int kBlockBytes = 64;
  static constexpr std::int64_t kMostRows = 4;
  static Columns load(const std::byte* p) {
    Columns columns;
    Codes::widen_pairs(p, columns.pairs);
    return columns;
  }
  static __m512 accumulate(__m512 sum, const std::uint16_t* x, const Columns& w) {
    return Wide::accumulate(Wide::accumulate(sum, x, w.pairs[0]), x + 2, w.pairs[1]);
  }
};
#endif

/// Few rows: what is gained by widening once for all of them would be lost in the cache.
template <class S, class Format>
inline void linear_widened_in_registers(const LinearTask& task, std::int64_t first_panel,
                                        std::int64_t last_panel, float* partial, float unit) {
  for (std::int64_t panel = first_panel; panel < last_panel; ++panel) {
    TileOperands<Format> t;
    t.x = static_cast<const typename Format::Activation*>(task.x);
    t.x_stride = task.x_stride;
    t.w = task.weights + panel * task.num_columns * kPanelColumns;
    t.w_step_bytes = 4 * Format::kBlockBytes;
    t.num_steps = task.num_columns / Format::kStep;
    t.prefetch = t.w + S::kAheadBytes;
    t.prefetch_lines = S::kAheadBytes > 0 ? 4 : 0;
    t.partial = nullptr;
    t.partial_stride = 0;
    t.out = partial;
    t.out_stride = kPanelColumns;
    multiply_rows<S, Format, 4>(static_cast<int>(task.num_tokens), t);
    finish_rows<S, Sums::kScaled>(task, panel, 0, task.num_tokens, partial, unit);
  }
}

template <class S, class Wide, class Codes>
inline void linear_widened(const LinearTask& task, std::int64_t first_panel,
                           std::int64_t last_panel, float* partial) {
  using InRegisters = CodesFormat<S, Wide, Codes>;
  constexpr float unit = unit_of_sums<Wide, Codes>();
  if constexpr (InRegisters::kMostRows > 0) {
    if (task.num_tokens <= InRegisters::kMostRows) {
      linear_widened_in_registers<S, InRegisters>(task, first_panel, last_panel, partial, unit);
      return;
    }
  }
  const auto* x = static_cast<const typename Wide::Activation*>(task.x);
  auto* wide = reinterpret_cast<std::byte*>(partial + kRowBlock * kPanelColumns);
  // A short block keeps the stream of codes flowing under few rows' arithmetic; a long one saves
  // partial sums' way to the cache and back under many.
  const std::int64_t block_columns = task.num_tokens <= 8 ? 64 : kWideColumns;
  for (std::int64_t panel = first_panel; panel < last_panel; ++panel) {
    const std::byte* codes = task.weights + panel * task.num_columns * kPanelColumns;
    for (std::int64_t row = 0; row < task.num_tokens; row += kRowBlock) {
      const std::int64_t rows =
          task.num_tokens - row < kRowBlock ? task.num_tokens - row : kRowBlock;
      for (std::int64_t k = 0; k < task.num_columns; k += block_columns) {
        const std::int64_t columns =
            task.num_columns - k < block_columns ? task.num_columns - k : block_columns;
        widen_block<S, Wide, Codes>(codes + k * kPanelColumns, columns / 4, wide);
        TileOperands<Wide> t;
        t.x = x + row * task.x_stride + k;
        t.x_stride = task.x_stride;
        t.w = wide;
        t.w_step_bytes = 4 * Wide::kBlockBytes;
        t.num_steps = columns / Wide::kStep;
        t.prefetch_bytes = columns * kPanelColumns;
        t.prefetch = codes + k * kPanelColumns + 2 * t.prefetch_bytes;
        t.partial = k == 0 ? nullptr : partial;
        t.partial_stride = kPanelColumns;
        t.out = partial;
        t.out_stride = kPanelColumns;
        multiply_panel<S, Wide>(rows, t);
      }
      finish_rows<S, Sums::kScaled>(task, panel, row, rows, partial, unit);
    }
  }
}

}  // namespace
}  // namespace iol::cpu
