#pragma once
// x W^T for int4 weights in groups along K and int8 activations with a scale for each group:
//
//   out[m][n] = sum over groups g of  (sum over k in g of x[m][k] (w[n][k] - zero[n][g]))
//                                     * x_scales[m][g] * scale[n][g]
//
// computed as  dot(x, w) * x_scales * scale - zero * scale * (x_scales * x_sums)  with an exact i32
// dot. Groups are gone through in ascending order, so results don't depend on how rows are tiled;
// they are the same on every instruction set that fuses multiply and add.
//
// Weights are split into nibbles in registers, on their way into the tile: a group of a panel is
// 4 KB or less and stays in the L1 cache while all rows pass over it.
#include <cstdint>

#include "backend/cpu/isa/linear.h"

namespace iol::cpu {
namespace {

/// int4 weights in eights along K, [K / 8][16][4] bytes: the low nibbles are the first four, the
/// high ones the last; against int8 activations.
template <class S>
struct Int4Format {
  using Activation = std::int8_t;
  struct Columns {
    typename S::Bytes low;
    typename S::Bytes high;
  };
  static constexpr int kStep = 8;
  static constexpr int kBlockBytes = 64;
  static Columns load(const std::byte* p) {
    const auto pairs = S::load_bytes(p);
    return {S::low_nibbles(pairs), S::high_nibbles(pairs)};
  }
  static typename S::F accumulate(typename S::F sum, const std::int8_t* x, const Columns& w) {
    return S::dot_nibbles(S::dot_nibbles(sum, w.low, x), w.high, x + 4);
  }
};

/// A stretch of a group: what all rows pass over at a time.
struct Int4Stretch {
  std::int64_t group;        // index along K
  const std::byte* packed;   // the group: scales, zero points, values
  std::int64_t first;        // columns of the group
  std::int64_t num_columns;  // at most kWideColumns
};

/// sums[r][c] += the stretch's part of the product, from its dots; the zero points' part comes with
/// the first stretch of a group.
template <class S>
inline void add_int4_stretch(const LinearTask& task, std::int64_t first_row, std::int64_t rows,
                             const Int4Stretch& stretch, const float* dots, float* sums) {
  const std::int64_t num_groups = task.num_columns / task.group_size;
  const auto* scales = reinterpret_cast<const float*>(stretch.packed);
  const std::byte* zeros = stretch.packed + kInt4ZerosOffset;
  const float zero_factor = stretch.first == 0 ? -1.0F : 0.0F;
  typename S::F scale[4];
  typename S::F minus_zero[4];
#pragma GCC unroll 4
  for (int b = 0; b < 4; ++b) {
    scale[b] = S::load(scales + b * 16);
    // Zero points are below 128, where i8 and u8 are alike.
    const auto zero = S::mul(S::broadcast(zero_factor), S::load_int8(zeros + b * 16));
    minus_zero[b] = S::mul(zero, scale[b]);
  }
  const bool is_first = stretch.group == 0 && stretch.first == 0;
  for (std::int64_t r = 0; r < rows; ++r) {
    const std::int64_t index = (first_row + r) * num_groups + stretch.group;
    const auto x_scale = S::broadcast(task.x_scales[index]);
    const auto x_sum = S::mul(x_scale, S::broadcast(static_cast<float>(task.x_sums[index])));
    float* row = sums + r * kPanelColumns;
#pragma GCC unroll 4
    for (int b = 0; b < 4; ++b) {
      const auto dot = S::from_int(S::load(dots + r * kPanelColumns + b * 16));
      const auto before = is_first ? S::zero() : S::load(row + b * 16);
      const auto sum = S::fma(dot, S::mul(x_scale, scale[b]), before);
      S::store(row + b * 16, S::fma(x_sum, minus_zero[b], sum));
    }
  }
}

/// All rows of a block over one stretch. `dots`: i32 bits [kRowsAtOnce, 64].
template <class S>
inline void multiply_int4_stretch(const LinearTask& task, std::int64_t first_row, std::int64_t rows,
                                  const Int4Stretch& stretch, float* sums, float* dots) {
  constexpr std::int64_t kRowsAtOnce = 24;
  using Format = Int4Format<S>;
  const auto* x =
      static_cast<const std::int8_t*>(task.x) + stretch.group * task.group_size + stretch.first;
  for (std::int64_t r = 0; r < rows; r += kRowsAtOnce) {
    const std::int64_t count = rows - r < kRowsAtOnce ? rows - r : kRowsAtOnce;
    TileOperands<Format> t;
    t.x = x + (first_row + r) * task.x_stride;
    t.x_stride = task.x_stride;
    t.w = stretch.packed + kInt4ValuesOffset + stretch.first / 2 * kPanelColumns;
    t.w_step_bytes = 4 * Format::kBlockBytes;
    t.num_steps = stretch.num_columns / Format::kStep;
    if (r == 0) {  // as much as is used here, two stretches on
      t.prefetch_bytes = stretch.num_columns / 2 * kPanelColumns + kInt4ValuesOffset;
      t.prefetch = stretch.packed + stretch.first / 2 * kPanelColumns + 2 * t.prefetch_bytes;
    }
    t.partial = nullptr;
    t.partial_stride = 0;
    t.out = dots;
    t.out_stride = kPanelColumns;
    multiply_panel<S, Format>(count, t);
    add_int4_stretch<S>(task, first_row + r, count, stretch, dots, sums + r * kPanelColumns);
  }
}

template <class S>
inline void linear_int4(const LinearTask& task, std::int64_t first_panel, std::int64_t last_panel,
                        float* partial) {
  // Their sums stay in the L1 cache; reading the weights again for the next rows costs less than
  // sums that come from the L2 cache for every group.
  constexpr std::int64_t kInt4Rows = 96;
  const std::int64_t num_groups = task.num_columns / task.group_size;
  const std::int64_t group_bytes = int4_group_bytes(task.group_size);
  for (std::int64_t panel = first_panel; panel < last_panel; ++panel) {
    for (std::int64_t row = 0; row < task.num_tokens; row += kInt4Rows) {
      const std::int64_t rows =
          task.num_tokens - row < kInt4Rows ? task.num_tokens - row : kInt4Rows;
      for (std::int64_t g = 0; g < num_groups; ++g) {
        Int4Stretch stretch = {g, task.weights + (panel * num_groups + g) * group_bytes, 0, 0};
        for (; stretch.first < task.group_size; stretch.first += kWideColumns) {
          const std::int64_t left = task.group_size - stretch.first;
          stretch.num_columns = left < kWideColumns ? left : kWideColumns;
          multiply_int4_stretch<S>(task, row, rows, stretch, partial,
                                   partial + kRowBlock * kPanelColumns);
        }
      }
      finish_rows<S, Sums::kFinal>(task, panel, row, rows, partial);
    }
  }
}

}  // namespace
}  // namespace iol::cpu
