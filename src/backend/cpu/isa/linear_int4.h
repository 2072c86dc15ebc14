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
// Few rows split weights into nibbles in registers, on their way into the tile. For many that would
// take a fifth of the instructions on the ports of the dot products, so they are split once, into
// scratch that stays in the L1 cache while all rows of a block pass over it.
#include <cstdint>

#include "backend/cpu/isa/linear.h"

namespace iol::cpu {
namespace {

/// int4 weights in eights along K, [K / 8][16][4] bytes: the low nibbles are the first four, the
/// high ones the last; against int8 activations.
template <class S>
struct Int4Format {
  using Activation = std::int8_t;
  using Columns = typename S::Bytes;
  static constexpr int kStep = 8;
  static constexpr int kBlockBytes = 64;
  static constexpr int kParts = 2;
  template <int kPart>
  static Columns load(const std::byte* p) {
    const auto pairs = S::load_bytes(p);
    if constexpr (kPart == 0) return S::low_nibbles(pairs);
    return S::high_nibbles(pairs);
  }
  static typename S::F accumulate(typename S::F sum, const std::int8_t* x, const Columns& w) {
    return S::dot_nibbles(sum, w, x);
  }
};

/// Nibbles in bytes, in fours along K, [K / 4][16][4].
template <class S>
struct NibblesFormat {
  using Activation = std::int8_t;
  using Columns = typename S::Bytes;
  static constexpr int kStep = 4;
  static constexpr int kBlockBytes = 64;
  static Columns load(const std::byte* p) { return S::load_bytes(p); }
  static typename S::F accumulate(typename S::F sum, const std::int8_t* x, const Columns& w) {
    return S::dot_nibbles(sum, w, x);
  }
};

/// From the order of Int4Format to that of NibblesFormat.
template <class S>
inline void split_nibbles(const std::byte* packed, std::int64_t num_columns, std::byte* nibbles) {
  constexpr std::int64_t kStepBytes = 4 * Int4Format<S>::kBlockBytes;
  for (std::int64_t k = 0; k < num_columns; k += Int4Format<S>::kStep) {
#pragma GCC unroll 4
    for (int b = 0; b < 4; ++b) {
      const auto pairs = S::load_bytes(packed + b * Int4Format<S>::kBlockBytes);
      S::store_bytes(nibbles + b * 64, S::low_nibbles(pairs));
      S::store_bytes(nibbles + kStepBytes + b * 64, S::high_nibbles(pairs));
    }
    packed += kStepBytes;
    nibbles += 2 * kStepBytes;
  }
}

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

constexpr std::int64_t kInt4TileRows = 24;  // whose dots are held at a time

/// What a block of rows works with beside its sums.
struct Int4Scratch {
  float* dots;         // i32 bits [kInt4TileRows, 64]
  std::byte* nibbles;  // [kWideColumns, 64]
};

/// All rows of a block over one stretch, whose weights are at `w` in the order of Format.
template <class S, class Format>
inline void multiply_int4_stretch(const LinearTask& task, std::int64_t first_row, std::int64_t rows,
                                  const Int4Stretch& stretch, const std::byte* w, float* sums,
                                  float* dots) {
  const auto* x =
      static_cast<const std::int8_t*>(task.x) + stretch.group * task.group_size + stretch.first;
  for (std::int64_t r = 0; r < rows; r += kInt4TileRows) {
    const std::int64_t count = rows - r < kInt4TileRows ? rows - r : kInt4TileRows;
    TileOperands<Format> t;
    t.x = x + (first_row + r) * task.x_stride;
    t.x_stride = task.x_stride;
    t.w = w;
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

/// `sums` [rows, 64]: of a panel, whose groups are at `packed`.
template <class S>
inline void multiply_int4_panel(const LinearTask& task, std::int64_t first_row, std::int64_t rows,
                                const std::byte* packed, float* sums, const Int4Scratch& scratch) {
  const std::int64_t num_groups = task.num_columns / task.group_size;
  const std::int64_t group_bytes = int4_group_bytes(task.group_size);
  const bool splits_once = rows > 2 * max_rows<S, 4>();
  for (std::int64_t g = 0; g < num_groups; ++g) {
    Int4Stretch stretch = {g, packed + g * group_bytes, 0, 0};
    for (; stretch.first < task.group_size; stretch.first += kWideColumns) {
      const std::int64_t left = task.group_size - stretch.first;
      stretch.num_columns = left < kWideColumns ? left : kWideColumns;
      const std::byte* w = stretch.packed + kInt4ValuesOffset + stretch.first / 2 * kPanelColumns;
      if (splits_once) {
        split_nibbles<S>(w, stretch.num_columns, scratch.nibbles);
        multiply_int4_stretch<S, NibblesFormat<S>>(task, first_row, rows, stretch, scratch.nibbles,
                                                   sums, scratch.dots);
      } else {
        multiply_int4_stretch<S, Int4Format<S>>(task, first_row, rows, stretch, w, sums,
                                                scratch.dots);
      }
    }
  }
}

template <class S>
inline void linear_int4(const LinearTask& task, std::int64_t first_panel, std::int64_t last_panel,
                        float* partial) {
  // Their sums stay in the L1 cache beside the weights.
  constexpr std::int64_t kInt4Rows = 48;
  Int4Scratch scratch;
  scratch.dots = partial + kRowBlock * kPanelColumns;
  scratch.nibbles = reinterpret_cast<std::byte*>(scratch.dots + kInt4TileRows * kPanelColumns);
  const std::int64_t panel_bytes =
      task.num_columns / task.group_size * int4_group_bytes(task.group_size);
  for (std::int64_t panel = first_panel; panel < last_panel; ++panel) {
    for (std::int64_t row = 0; row < task.num_tokens; row += kInt4Rows) {
      const std::int64_t rows =
          task.num_tokens - row < kInt4Rows ? task.num_tokens - row : kInt4Rows;
      multiply_int4_panel<S>(task, row, rows, task.weights + panel * panel_bytes, partial, scratch);
      finish_rows<S, Sums::kFinal>(task, panel, row, rows, partial);
    }
  }
}

}  // namespace
}  // namespace iol::cpu
