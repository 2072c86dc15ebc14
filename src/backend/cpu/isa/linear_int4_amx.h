#pragma once
// x W^T for int4 weights by tiles: the same sums as linear_int4.h, bit for bit, since a stretch's
// dots are exact; only they are computed otherwise.
#include <cstdint>

#include "backend/cpu/isa/amx_block.h"
#include "backend/cpu/isa/linear_int4.h"

namespace iol::cpu {
namespace {

/// What a block of rows works with; all of it stays in the L1 cache.
struct Int4AmxScratch {
  static constexpr std::int64_t kRows = 64;
  static constexpr std::int64_t kDotRows = 2 * kTileRows;  // at a time
  float* sums;                                             // [kRows, 64]
  float* dots;                                             // i32 bits [kDotRows, 64]
  std::byte* nibbles;                                      // [kWideColumns / 4][64][4]
};

/// sums += the stretch's part of the product, for all rows of a block. A stretch's last columns,
/// fewer than a tile takes, are added to the dots of the others.
template <class S>
inline void multiply_int4_amx_stretch(Tiles& tiles, const LinearTask& task, std::int64_t first_row,
                                      std::int64_t rows, const Int4Stretch& stretch,
                                      const Int4AmxScratch& scratch) {
  const std::int64_t whole = stretch.num_columns - stretch.num_columns % kTileBytes;
  const auto* x =
      static_cast<const std::byte*>(task.x) + stretch.group * task.group_size + stretch.first;
  BlockOperands t;
  t.x_stride = task.x_stride;
  t.start_stride = kSumsStride;
  t.sums = reinterpret_cast<std::byte*>(scratch.dots);
  for (std::int64_t r = 0; r < rows; r += Int4AmxScratch::kDotRows) {
    const std::int64_t count =
        rows - r < Int4AmxScratch::kDotRows ? rows - r : Int4AmxScratch::kDotRows;
    t.x = x + (first_row + r) * task.x_stride;
    t.w = scratch.nibbles;
    t.start = nullptr;
    t.fetch = {};
    if (r == 0) {  // as much as is used here, two stretches on
      const std::int64_t bytes = stretch.num_columns / 2 * kPanelColumns + kInt4ValuesOffset;
      t.fetch = {stretch.packed + stretch.first / 2 * kPanelColumns + 2 * bytes, bytes, false};
    }
    if (whole > 0) {
      t.x_bytes = whole;
      multiply_block<NibblesProduct>(tiles, count, t);
      t.start = t.sums;
      t.fetch = {};
    }
    if (whole < stretch.num_columns) {
      t.x += whole;
      t.w += whole * kPanelColumns;
      t.x_bytes = stretch.num_columns - whole;
      multiply_block<NibblesProduct>(tiles, count, t);
    }
    add_int4_stretch<S>(task, first_row + r, count, stretch, scratch.dots,
                        scratch.sums + r * kPanelColumns);
  }
}

template <class S>
inline void linear_int4_amx(const LinearTask& task, std::int64_t first_panel,
                            std::int64_t last_panel, float* partial) {
  Tiles tiles;
  Int4AmxScratch scratch;
  scratch.sums = partial;
  scratch.dots = scratch.sums + Int4AmxScratch::kRows * kPanelColumns;
  scratch.nibbles =
      reinterpret_cast<std::byte*>(scratch.dots + Int4AmxScratch::kDotRows * kPanelColumns);
  const std::int64_t num_groups = task.num_columns / task.group_size;
  const std::int64_t group_bytes = int4_group_bytes(task.group_size);
  for (std::int64_t panel = first_panel; panel < last_panel; ++panel) {
    const std::byte* packed = task.weights + panel * num_groups * group_bytes;
    for (std::int64_t row = 0; row < task.num_tokens; row += Int4AmxScratch::kRows) {
      const std::int64_t left = task.num_tokens - row;
      const std::int64_t rows = left < Int4AmxScratch::kRows ? left : Int4AmxScratch::kRows;
      for (std::int64_t g = 0; g < num_groups; ++g) {
        Int4Stretch stretch = {g, packed + g * group_bytes, 0, 0};
        for (; stretch.first < task.group_size; stretch.first += kWideColumns) {
          const std::int64_t columns = task.group_size - stretch.first;
          stretch.num_columns = columns < kWideColumns ? columns : kWideColumns;
          split_nibbles<S>(stretch.packed + kInt4ValuesOffset + stretch.first / 2 * kPanelColumns,
                           stretch.num_columns, scratch.nibbles);
          multiply_int4_amx_stretch<S>(tiles, task, row, rows, stretch, scratch);
        }
      }
      finish_rows<S, Sums::kFinal>(task, panel, row, rows, scratch.sums);
    }
  }
}

}  // namespace
}  // namespace iol::cpu
