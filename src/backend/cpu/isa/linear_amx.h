#pragma once
// x W^T by tiles, for weights that are multiplied as they are and for codes of one byte that become
// bf16 on their way.
//
// Few rows follow one stream of weights, panel by panel. Many keep a block of a panel (64 columns,
// 256 bytes of K) in the L1 cache while they pass over it, and four panels take turns at each
// block of K, so that the rows' part of it comes from the L2 cache for three of them.
#include <cstdint>

#include "backend/cpu/isa/amx_block.h"
#include "backend/cpu/isa/linear.h"
#include "backend/cpu/isa/linear_widened.h"

namespace iol::cpu {
namespace {

/// How far the stream of weights is fetched ahead for few rows.
inline constexpr std::int64_t kAheadBytes = 8192;
/// Of K in a row, while many rows pass over it.
inline constexpr std::int64_t kManyRowsBlockBytes = 256;

/// bf16 and int8: packed as tiles take them.
template <class TileProduct, Sums kMeaning>
struct TiledWeights {
  using Product = TileProduct;
  static constexpr Sums kSums = kMeaning;
  static constexpr std::int64_t kBytes = kSums == Sums::kInteger ? 1 : 2;  // of a weight
  static constexpr std::int64_t kXBytes = kBytes;                          // of what it multiplies
  static constexpr std::int64_t kFewRows = kTileRows;
  static constexpr std::int64_t kFewRowsColumns = 1 << 30;  // of a block: all of K
  static const std::byte* tiled(const std::byte* packed, std::int64_t /*columns*/,
                                std::byte* /*scratch*/, bool /*is_few*/) {
    return packed;
  }
  static Fetch stream(const std::byte* packed, std::int64_t bytes) {
    return {packed + kAheadBytes, bytes, true};
  }
};

/// int8-wo and fp8: a block is widened to bf16.
template <class S, class Codes>
struct CodedWeights {
  using Product = Bf16Product;
  static constexpr Sums kSums = Sums::kScaled;
  static constexpr std::int64_t kBytes = 1;
  static constexpr std::int64_t kXBytes = 2;
  static constexpr std::int64_t kFewRows = 64;
  static constexpr std::int64_t kFewRowsColumns = 64;
  static constexpr std::int64_t kCodesAheadBytes = 4096;
  static const std::byte* tiled(const std::byte* packed, std::int64_t columns, std::byte* scratch,
                                bool is_few) {
    using Wide = Bf16DotFormat<S>;
    is_few ? widen_block<S, Wide, Codes, kCodesAheadBytes>(packed, columns / 4, scratch)
           : widen_block<S, Wide, Codes>(packed, columns / 4, scratch);
    return scratch;
  }
  /// For few rows widening takes longer than multiplying, and has fetched what comes next.
  static Fetch stream(const std::byte* /*packed*/, std::int64_t /*bytes*/) { return {}; }
};

/// Panels that take turns at each block of K, and the rows that pass over it.
struct PanelGroup {
  std::int64_t first_panel;
  std::int64_t num_panels;
  std::int64_t first_row;
  std::int64_t rows;
};

/// sums [num_panels, kRowBlock, 64]: of panels of the group; wide: a block of widened weights.
template <class S, class Weights>
inline void multiply_group(Tiles& tiles, const LinearTask& task, const PanelGroup& group,
                           float* sums, std::byte* wide) {
  constexpr std::int64_t kTileColumns = kTileBytes / Weights::kXBytes;  // of K
  const bool is_few = task.num_tokens <= Weights::kFewRows;
  const std::int64_t most_columns =
      is_few ? Weights::kFewRowsColumns : kManyRowsBlockBytes / Weights::kXBytes;
  const auto packed_at = [&](std::int64_t panel, std::int64_t k) {
    const std::int64_t panel_columns = (group.first_panel + panel) * task.num_columns + k;
    return task.weights + panel_columns * kPanelColumns * Weights::kBytes;
  };
  BlockOperands t;
  t.x_stride = task.x_stride * Weights::kXBytes;
  const auto* x = static_cast<const std::byte*>(task.x) + group.first_row * t.x_stride;
  std::int64_t columns = 0;
  for (std::int64_t k = 0; k < task.num_columns; k += columns) {
    columns = task.num_columns - k < most_columns ? task.num_columns - k : most_columns;
    if (columns > kTileColumns) columns -= columns % kTileColumns;
    const std::int64_t block_bytes = columns * kPanelColumns * Weights::kBytes;
    const std::int64_t next_k = k + columns;
    t.x = x + k * Weights::kXBytes;
    t.x_bytes = columns * Weights::kXBytes;
    for (std::int64_t p = 0; p < group.num_panels; ++p) {
      const std::byte* packed = packed_at(p, k);
      const std::byte* next = p + 1 < group.num_panels    ? packed_at(p + 1, k)
                              : next_k < task.num_columns ? packed_at(0, next_k)
                                                          : packed_at(group.num_panels, 0);
      t.fetch = is_few ? Weights::stream(packed, block_bytes) : Fetch{next, block_bytes, false};
      t.w = Weights::tiled(packed, columns, wide, is_few);
      t.sums = reinterpret_cast<std::byte*>(sums + p * kRowBlock * kPanelColumns);
      t.start = t.sums;
      t.start_stride = kSumsStride;
      if (k == 0) {
        t.start = nullptr;
        if constexpr (Weights::kSums == Sums::kInteger)
          t.start = reinterpret_cast<const std::byte*>(task.weight_offsets +
                                                       (group.first_panel + p) * kPanelColumns);
        t.start_stride = 0;  // the same for every row
      }
      multiply_block<typename Weights::Product>(tiles, group.rows, t);
    }
  }
  for (std::int64_t p = 0; p < group.num_panels; ++p)
    finish_rows<S, Weights::kSums>(task, group.first_panel + p, group.first_row, group.rows,
                                   sums + p * kRowBlock * kPanelColumns);
}

template <class S, class Weights>
inline void linear_amx(const LinearTask& task, std::int64_t first_panel, std::int64_t last_panel,
                       float* partial) {
  Tiles tiles;
  auto* wide = reinterpret_cast<std::byte*>(partial + kPanelsTogether * kRowBlock * kPanelColumns);
  const std::int64_t most_panels = task.num_tokens <= Weights::kFewRows ? 1 : kPanelsTogether;
  for (std::int64_t panel = first_panel; panel < last_panel; panel += most_panels) {
    const std::int64_t panels_left = last_panel - panel;
    for (std::int64_t row = 0; row < task.num_tokens; row += kRowBlock) {
      const std::int64_t rows_left = task.num_tokens - row;
      const PanelGroup group = {panel, panels_left < most_panels ? panels_left : most_panels, row,
                                rows_left < kRowBlock ? rows_left : kRowBlock};
      multiply_group<S, Weights>(tiles, task, group, partial, wide);
    }
  }
}

}  // namespace
}  // namespace iol::cpu
