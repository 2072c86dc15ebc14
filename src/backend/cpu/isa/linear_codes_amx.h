#pragma once
// x W^T by tiles for few rows and weights of one byte that become bf16. Widening takes longer than
// multiplying there, so a step is widened while tiles multiply the one before, and sums stay in the
// tiles until a panel is done.
#include <cstdint>

#include "backend/cpu/isa/linear_amx.h"

namespace iol::cpu {
namespace {

/// Sums [num_tokens, 64] of up to 16 rows and a panel.
template <class S, class Codes>
inline void multiply_codes_panel(Tiles& tiles, const LinearTask& task, std::int64_t panel,
                                 float* sums, std::byte* wide) {
  constexpr std::int64_t kStepColumns = 64;
  constexpr std::int64_t kWideBytes = 2 * kStepColumns * kPanelColumns;
  const std::byte* codes = task.weights + panel * task.num_columns * kPanelColumns;
  const std::int64_t whole = task.num_columns - task.num_columns % kStepColumns;
  const auto widened = [&](std::int64_t k) {
    return CodedWeights<S, Codes>::tiled(codes + k * kPanelColumns, kStepColumns,
                                         wide + k / kStepColumns % 2 * kWideBytes, true);
  };
  BlockOperands t = {};
  t.x = static_cast<const std::byte*>(task.x);
  t.x_stride = 2 * task.x_stride;
  t.x_bytes = 2 * kStepColumns;
  t.start_stride = kSumsStride;
  t.sums = reinterpret_cast<std::byte*>(sums);
  if (whole > 0) {
    Prefetcher nothing({}, 1);
    tiles.set_shapes({task.num_tokens, task.num_tokens, kTileBytes});
    start_one_by_four(t);
    t.w = widened(0);
    for (std::int64_t k = 0; k < whole; k += kStepColumns) {
      const std::byte* next = k + kStepColumns < whole ? widened(k + kStepColumns) : nullptr;
      add_one_by_four<Bf16Product>(t, nothing);
      t.x += t.x_bytes;
      t.w = next;
    }
    store_one_by_four(t);
    t.start = t.sums;
  }
  // What is left of K, in whole tiles and then what a tile takes less than.
  for (std::int64_t k = whole; k < task.num_columns;) {
    const std::int64_t left = task.num_columns - k;
    const std::int64_t columns = left < kTileBytes / 2 ? left : kTileBytes / 2;
    t.x = static_cast<const std::byte*>(task.x) + 2 * k;
    t.x_bytes = 2 * columns;
    t.w = CodedWeights<S, Codes>::tiled(codes + k * kPanelColumns, columns, wide, true);
    multiply_block<Bf16Product>(tiles, task.num_tokens, t);
    t.start = t.sums;
    k += columns;
  }
}

template <class S, class Codes>
inline void linear_codes_amx(const LinearTask& task, std::int64_t first_panel,
                             std::int64_t last_panel, float* partial) {
  if (task.num_tokens > kTileRows)
    return linear_amx<S, CodedWeights<S, Codes>>(task, first_panel, last_panel, partial);
  Tiles tiles;
  auto* wide = reinterpret_cast<std::byte*>(partial + kTileRows * kPanelColumns);
  for (std::int64_t panel = first_panel; panel < last_panel; ++panel) {
    multiply_codes_panel<S, Codes>(tiles, task, panel, partial, wide);
    finish_rows<S, Sums::kScaled>(task, panel, 0, task.num_tokens, partial);
  }
}

}  // namespace
}  // namespace iol::cpu
