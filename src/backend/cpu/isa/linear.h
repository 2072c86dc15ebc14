#pragma once
// x W^T over packed panels, and what is fused behind it.
#include <cstdint>

#include "backend/cpu/isa/formats.h"
#include "backend/cpu/isa/functions.h"
#include "backend/cpu/isa/tile.h"
#include "backend/cpu/kernel_table.h"

namespace iol::cpu {
namespace {

template <class S>
inline void store_activation(void* out, Element element, std::int64_t index, typename S::F value) {
  if (element == Element::kBf16) {
    S::store_bf16(static_cast<std::uint16_t*>(out) + index, value);
  } else {
    S::store(static_cast<float*>(out) + index, value);
  }
}

/// What sums over K stand for when they are complete.
enum class Sums : std::uint8_t {
  kFinal,    // themselves
  kInteger,  // i32 bits, to be multiplied with the scales of row and column
  kScaled,   // to be multiplied with the scale of the column and, where rows have one, of the row
};

/// `unit`: a power of two that sums are multiples of.
template <class S, Sums kSums>
inline typename S::F scaled_sums(const LinearTask& task, std::int64_t row, std::int64_t column,
                                 typename S::F sums, float unit) {
  if constexpr (kSums == Sums::kFinal) return sums;
  auto scale = S::load(task.weight_scales + column);
  if constexpr (kSums == Sums::kScaled) scale = S::mul(S::broadcast(unit), scale);
  if (task.x_scales != nullptr) scale = S::mul(S::broadcast(task.x_scales[row]), scale);
  if constexpr (kSums == Sums::kInteger) sums = S::from_int(sums);
  return S::mul(sums, scale);
}

/// Finishes rows [0, rows) of one panel, whose sums over K are in `sums` [rows, 64].
template <class S, Sums kSums>
inline void finish_rows(const LinearTask& task, std::int64_t panel, std::int64_t first_row,
                        std::int64_t rows, const float* sums, float unit = 1.0F) {
  const std::int64_t column = panel * kPanelColumns;
  for (std::int64_t r = 0; r < rows; ++r) {
    const float* row_sums = sums + r * kPanelColumns;
    const std::int64_t out_row = (first_row + r) * task.out_stride;
    typename S::F value[4];
#pragma GCC unroll 4
    for (int b = 0; b < 4; ++b) {
      value[b] = scaled_sums<S, kSums>(task, first_row + r, column + b * 16,
                                       S::load(row_sums + b * 16), unit);
      if (task.bias != nullptr) value[b] = S::add(value[b], S::load(task.bias + column + b * 16));
    }
    if (task.epilogue == Epilogue::kSwiGlu) {
      for (int b = 0; b < 4; b += 2) {
        const std::int64_t out_column = column / 2 + b * 8;
        if (out_column >= task.out_columns) break;
        store_activation<S>(task.out_activation, task.out_element, out_row + out_column,
                            S::mul(silu<S>(value[b]), value[b + 1]));
      }
      continue;
    }
    for (int b = 0; b < 4; ++b) {
      const std::int64_t out_column = column + b * 16;
      if (out_column >= task.out_columns) break;
      float* out = task.out + out_row + out_column;
      S::store(out, task.epilogue == Epilogue::kAdd ? S::add(S::load(out), value[b]) : value[b]);
    }
  }
}

/// Whether few rows make fewer tiles of half a panel's columns than of all of them: each tile reads
/// its columns again. Measured: AMD's Zen 4 gains up to a quarter at 8 and 16 rows, Intel's Cascade
/// Lake loses as much to the stride.
template <class S>
constexpr bool fits_halves_better(std::int64_t rows) {
  if (!S::kHalvesPanels) return false;
  constexpr std::int64_t kWhole = max_rows<S, 4>();
  constexpr std::int64_t kHalf = max_rows<S, 2>();
  return rows <= 2 * kHalf && (rows + kHalf - 1) / kHalf < (rows + kWhole - 1) / kWhole;
}

/// All blocks of a panel for `rows` rows; with few registers in passes of fewer blocks.
template <class S, class Format>
inline void multiply_panel(std::int64_t rows, const TileOperands<Format>& t) {
  constexpr bool kWholePanel = S::kMaxAccumulators >= 16;
  if ((kWholePanel && !fits_halves_better<S>(rows)) || rows == 1) {
    multiply<S, Format, 4>(rows, t);
    return;
  }
  if constexpr (kWholePanel) {
    for (int half = 0; half < 2; ++half) {
      TileOperands<Format> blocks = t;
      blocks.w += half * 2 * Format::kBlockBytes;
      blocks.out += half * 32;
      if (blocks.partial != nullptr) blocks.partial += half * 32;
      blocks.prefetch_bytes = t.prefetch_bytes / 2;
      blocks.prefetch += half * blocks.prefetch_bytes;
      multiply<S, Format, 2>(rows, blocks);
    }
    return;
  }
  for (int b = 0; b < 4; ++b) {
    TileOperands<Format> block = t;
    block.w += b * Format::kBlockBytes;
    block.out += b * 16;
    if (block.partial != nullptr) block.partial += b * 16;
    multiply<S, Format, 1>(rows, block);
  }
}

template <class S, class Format>
inline void linear_panels(const LinearTask& task, std::int64_t first_panel, std::int64_t last_panel,
                          float* partial) {
  constexpr std::int64_t kStepBytes = 4 * Format::kBlockBytes;
  const std::int64_t num_steps = task.num_columns / Format::kStep;
  constexpr std::int64_t kBlockSteps = kColumnBlock / Format::kStep;
  constexpr bool kIntegerSums = kHasIntegerSums<Format>;
  const auto* x = static_cast<const typename Format::Activation*>(task.x);
  const auto* offsets = reinterpret_cast<const float*>(task.weight_offsets);  // i32 bits
  for (std::int64_t panel = first_panel; panel < last_panel; ++panel) {
    const std::byte* weights = task.weights + panel * num_steps * kStepBytes;
    for (std::int64_t row = 0; row < task.num_tokens; row += kRowBlock) {
      const std::int64_t rows =
          task.num_tokens - row < kRowBlock ? task.num_tokens - row : kRowBlock;
      for (std::int64_t step = 0; step < num_steps; step += kBlockSteps) {
        TileOperands<Format> t;
        t.x = x + row * task.x_stride + step * Format::kStep;
        t.x_stride = task.x_stride;
        t.w = weights + step * kStepBytes;
        t.w_step_bytes = kStepBytes;
        t.num_steps = num_steps - step < kBlockSteps ? num_steps - step : kBlockSteps;
        // A single pass stays ahead of its own loads, or leaves that to the hardware (kAheadBytes
        // is 0); several fetch the next block, which follows in memory.
        const bool is_single = rows <= max_rows<S, 4>();
        t.prefetch_bytes = is_single && S::kAheadBytes == 0 ? 0 : t.num_steps * kStepBytes;
        t.prefetch = t.w + (is_single ? S::kAheadBytes : t.prefetch_bytes);
        t.partial = partial;
        t.partial_stride = kPanelColumns;
        if (step == 0) {
          t.partial = kIntegerSums ? offsets + panel * kPanelColumns : nullptr;
          t.partial_stride = 0;  // the same for every row
        }
        t.out = partial;
        t.out_stride = kPanelColumns;
        multiply_panel<S, Format>(rows, t);
      }
      finish_rows<S, kIntegerSums ? Sums::kInteger : Sums::kFinal>(task, panel, row, rows, partial);
    }
  }
}

}  // namespace
}  // namespace iol::cpu
