#pragma once
// x W^T for int4 weights in groups along K and int8 activations with a scale for each group:
//
//   out[m][n] = sum over groups g of  (sum over k in g of x[m][k] (w[n][k] - zero[n][g]))
//                                     * x_scales[m][g] * scale[n][g]
//
// The inner sum is an exact i32, the outer one goes through the groups in ascending order: results
// are the same on every instruction set and for any grouping of rows.
#include <cstdint>

#include "backend/cpu/isa/linear.h"

namespace iol::cpu {
namespace {

/// What a tile of int4 needs; `first_block` counts sixteens of the panel's columns.
struct Int4Tile {
  const LinearTask* task;
  const std::byte* panel;
  std::int64_t first_row;  // of the task's tokens
  int first_block;
  float* sums;  // [rows, 64] of the panel
};

/// One group's exact sums: dots[r][c] = sum over k of x[r][k] (w[k][c] - zeros[c]), as i32 bits.
/// Not inlined: on its own, the compiler keeps all accumulators in registers.
template <class S, int kRows, int kBlocks>
[[gnu::noinline]] void dot_int4_group(const std::int8_t* x, std::int64_t x_stride,
                                      const std::int32_t* x_sums, std::int64_t x_sums_stride,
                                      const std::uint8_t* zeros, const std::byte* w,
                                      std::int64_t group_size, float* dots) {
  typename S::F dot[kRows][kBlocks];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int b = 0; b < kBlocks; ++b)
      dot[r][b] = S::scale_bytes(zeros + b * 16, -x_sums[r * x_sums_stride]);
  }
  for (std::int64_t k = 0; k < group_size; k += 4) {
    // Low halves of the bytes are four columns of K, high halves the next four.
    typename S::Bytes columns[kBlocks];
#pragma GCC unroll 4
    for (int b = 0; b < kBlocks; ++b)
      columns[b] = S::nibbles(S::load_bytes(w + b * 64), static_cast<int>(k & 4));
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int b = 0; b < kBlocks; ++b)
        dot[r][b] = S::dot_nibbles(dot[r][b], columns[b], x + r * x_stride);
    }
    constexpr std::int64_t kAheadBytes = 4096;
    S::prefetch(w + kAheadBytes + (k & 4) * 32);
    S::prefetch(w + kAheadBytes + (k & 4) * 32 + 64);
    x += 4;
    w += (k & 4) * 64;
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int b = 0; b < kBlocks; ++b) S::store(dots + r * kPanelColumns + b * 16, dot[r][b]);
  }
}

template <class S, int kRows, int kBlocks>
inline void multiply_int4_tile(const Int4Tile& t) {
  const LinearTask& task = *t.task;
  const std::int64_t group_size = task.group_size;
  const std::int64_t num_groups = task.num_columns / group_size;
  const auto* x = static_cast<const std::int8_t*>(task.x) + t.first_row * task.x_stride;
  const float* x_scales = task.x_scales + t.first_row * num_groups;
  const std::int32_t* x_sums = task.x_sums + t.first_row * num_groups;
  const std::byte* group = t.panel;
  float* sums = t.sums + t.first_block * 16;
  alignas(64) float dots[kRows * kPanelColumns];
  for (std::int64_t g = 0; g < num_groups; ++g, group += int4_group_bytes(group_size)) {
    const auto* scales = reinterpret_cast<const float*>(group) + t.first_block * 16;
    const auto* zeros =
        reinterpret_cast<const std::uint8_t*>(group) + kInt4ZerosOffset + t.first_block * 16;
    const std::byte* w = group + kInt4ValuesOffset + t.first_block * 64;
    dot_int4_group<S, kRows, kBlocks>(x + g * group_size, task.x_stride, x_sums + g, num_groups,
                                      zeros, w, group_size, dots);
    for (std::int64_t r = 0; r < kRows; ++r) {
      const auto x_scale = S::broadcast(x_scales[r * num_groups + g]);
      float* row = sums + r * kPanelColumns;
      for (int b = 0; b < kBlocks; ++b) {
        const auto dot = S::from_int(S::load(dots + r * kPanelColumns + b * 16));
        const auto scale = S::mul(x_scale, S::load(scales + b * 16));
        const auto before = g == 0 ? S::zero() : S::load(row + b * 16);
        S::store(row + b * 16, S::fma(dot, scale, before));
      }
    }
  }
}

template <class S, int kBlocks>
inline void multiply_int4_rows(int rows, const Int4Tile& t) {
  constexpr int kMost = max_rows<S, kBlocks>();
  if constexpr (kMost >= 6)
    if (rows == 6) return multiply_int4_tile<S, 6, kBlocks>(t);
  if constexpr (kMost >= 5)
    if (rows == 5) return multiply_int4_tile<S, 5, kBlocks>(t);
  if constexpr (kMost >= 4)
    if (rows == 4) return multiply_int4_tile<S, 4, kBlocks>(t);
  if constexpr (kMost >= 3)
    if (rows == 3) return multiply_int4_tile<S, 3, kBlocks>(t);
  if constexpr (kMost >= 2)
    if (rows == 2) return multiply_int4_tile<S, 2, kBlocks>(t);
  multiply_int4_tile<S, 1, kBlocks>(t);
}

/// `rows` tokens from t.first_row on, in tiles of even height.
template <class S, int kBlocks>
inline void multiply_int4(std::int64_t rows, const Int4Tile& t) {
  constexpr std::int64_t kMost = max_rows<S, kBlocks>() < 6 ? max_rows<S, kBlocks>() : 6;
  const std::int64_t num_tiles = (rows + kMost - 1) / kMost;
  for (std::int64_t tile = 0; tile < num_tiles; ++tile) {
    const std::int64_t begin = rows * tile / num_tiles;
    const std::int64_t end = rows * (tile + 1) / num_tiles;
    Int4Tile part = t;
    part.first_row += begin;
    part.sums += begin * kPanelColumns;
    multiply_int4_rows<S, kBlocks>(static_cast<int>(end - begin), part);
  }
}

template <class S>
inline void linear_int4(const LinearTask& task, std::int64_t first_panel, std::int64_t last_panel,
                        float* partial) {
  const std::int64_t panel_bytes =
      task.num_columns / task.group_size * int4_group_bytes(task.group_size);
  for (std::int64_t panel = first_panel; panel < last_panel; ++panel) {
    for (std::int64_t row = 0; row < task.num_tokens; row += kRowBlock) {
      const std::int64_t rows =
          task.num_tokens - row < kRowBlock ? task.num_tokens - row : kRowBlock;
      Int4Tile t = {&task, task.weights + panel * panel_bytes, row, 0, partial};
      if (S::kMaxAccumulators >= 16 || rows == 1) {
        multiply_int4<S, 4>(rows, t);
      } else {
        for (; t.first_block < 4; ++t.first_block) multiply_int4<S, 1>(rows, t);
      }
      finish_rows<S, Sums::kFinal>(task, panel, row, rows, partial);
    }
  }
}

}  // namespace
}  // namespace iol::cpu
