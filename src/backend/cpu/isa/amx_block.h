#pragma once
// Rows of activations against a block of a panel, by tiles:
//   sums[r][c] = start[r][c] + sum over k of x[r][k] * w[k][c]
// for any number of rows, 64 columns and a stretch of K.
//
// K is walked in ascending order, 64 bytes of a row at a time, whatever the number of rows; what is
// left at the end of K is a stretch of its own.
#include <cstdint>

#include "backend/cpu/isa/amx_tile.h"
#include "backend/cpu/kernel_table.h"

namespace iol::cpu {
namespace {

/// Between 64 bytes of K and the next of a packed panel, and between its fours of bytes.
inline constexpr std::int64_t kPanelStepBytes = kTileBytes * kPanelColumns;
inline constexpr std::int64_t kPanelRowBytes = 4 * kPanelColumns;
inline constexpr std::int64_t kSumsStride = sizeof(float) * kPanelColumns;  // bytes

/// What to fetch, into the L1 cache where it is needed soon, else into the L2 cache.
struct Fetch {
  const std::byte* begin = nullptr;
  std::int64_t bytes = 0;
  bool is_soon = false;
};

/// Strides are in bytes.
struct BlockOperands {
  const std::byte* x;  // [rows, x_stride]
  std::int64_t x_stride;
  const std::byte* w;      // [x_bytes / 4][64 columns][4]
  std::int64_t x_bytes;    // of a row: a multiple of 64, or less than 64
  const std::byte* start;  // [rows, start_stride] f32 or i32, or null for zeros; may be `sums`
  std::int64_t start_stride;
  std::byte* sums;  // [rows, 64] f32 or i32
  Fetch fetch;      // meanwhile
};

/// Fetches a stretch of memory, its share at every step of many.
class Prefetcher {
 public:
  Prefetcher(const Fetch& fetch, std::int64_t num_steps)
      : next_(fetch.begin),
        end_(fetch.begin + fetch.bytes),
        step_bytes_((fetch.bytes / 64 + num_steps - 1) / num_steps * 64),
        is_soon_(fetch.is_soon) {}
  void step() {
    const std::byte* step_end = next_ + step_bytes_ < end_ ? next_ + step_bytes_ : end_;
    for (; next_ < step_end; next_ += 64) {
      const auto* line = reinterpret_cast<const char*>(next_);
      is_soon_ ? _mm_prefetch(line, _MM_HINT_T0) : _mm_prefetch(line, _MM_HINT_T1);
    }
  }

 private:
  const std::byte* next_;
  const std::byte* end_;
  std::int64_t step_bytes_;
  bool is_soon_;
};

/// From the columns of one tile to those of the next, in w and in sums alike.
inline constexpr std::int64_t kTileColumnBytes = 4 * kBlockColumns;

/// Sums begin with zeros, or with what is `offset` bytes behind t.start.
template <Tile kTile>
inline void start_tile(const BlockOperands& t, std::int64_t offset) {
  if (t.start == nullptr) {
    zero_tile<kTile>();
  } else {
    load_tile<kTile>(t.start + offset, t.start_stride);
  }
}

/// Up to 16 rows x 64 columns, in three parts.
inline void start_one_by_four(const BlockOperands& t) {
  start_tile<kUpperLeft>(t, 0);
  start_tile<kUpperRight>(t, kTileColumnBytes);
  start_tile<kLowerLeft>(t, 2 * kTileColumnBytes);
  start_tile<kLowerRight>(t, 3 * kTileColumnBytes);
}
template <class Product>
inline void add_one_by_four(const BlockOperands& t, Prefetcher& prefetcher) {
  const std::byte* x = t.x;
  const std::byte* w = t.w;
  for (const std::byte* end = x + t.x_bytes; x < end; x += kTileBytes, w += kPanelStepBytes) {
    load_tile<kUpperX>(x, t.x_stride);
    load_tile<kEvenW>(w, kPanelRowBytes);
    Product::template add<kUpperLeft, kUpperX, kEvenW>();
    load_tile<kOddW>(w + kTileColumnBytes, kPanelRowBytes);
    Product::template add<kUpperRight, kUpperX, kOddW>();
    load_tile<kEvenW>(w + 2 * kTileColumnBytes, kPanelRowBytes);
    Product::template add<kLowerLeft, kUpperX, kEvenW>();
    load_tile<kOddW>(w + 3 * kTileColumnBytes, kPanelRowBytes);
    Product::template add<kLowerRight, kUpperX, kOddW>();
    prefetcher.step();
  }
}
inline void store_one_by_four(const BlockOperands& t) {
  store_tile<kUpperLeft>(t.sums, kSumsStride);
  store_tile<kUpperRight>(t.sums + kTileColumnBytes, kSumsStride);
  store_tile<kLowerLeft>(t.sums + 2 * kTileColumnBytes, kSumsStride);
  store_tile<kLowerRight>(t.sums + 3 * kTileColumnBytes, kSumsStride);
}

/// 17 to 32 rows x 32 columns, `offset` bytes from the panel's first.
template <class Product>
inline void multiply_two_by_two(const BlockOperands& t, std::int64_t offset,
                                Prefetcher& prefetcher) {
  const std::int64_t lower = kTileRows * t.start_stride;
  start_tile<kUpperLeft>(t, offset);
  start_tile<kUpperRight>(t, offset + kTileColumnBytes);
  start_tile<kLowerLeft>(t, lower + offset);
  start_tile<kLowerRight>(t, lower + offset + kTileColumnBytes);
  const std::byte* x = t.x;
  const std::byte* w = t.w + offset;
  for (const std::byte* end = x + t.x_bytes; x < end; x += kTileBytes, w += kPanelStepBytes) {
    load_tile<kUpperX>(x, t.x_stride);
    load_tile<kEvenW>(w, kPanelRowBytes);
    load_tile<kOddW>(w + kTileColumnBytes, kPanelRowBytes);
    Product::template add<kUpperLeft, kUpperX, kEvenW>();
    load_tile<kLowerX>(x + kTileRows * t.x_stride, t.x_stride);
    Product::template add<kUpperRight, kUpperX, kOddW>();
    Product::template add<kLowerLeft, kLowerX, kEvenW>();
    Product::template add<kLowerRight, kLowerX, kOddW>();
    prefetcher.step();
  }
  std::byte* sums = t.sums + offset;
  store_tile<kUpperLeft>(sums, kSumsStride);
  store_tile<kUpperRight>(sums + kTileColumnBytes, kSumsStride);
  sums += kTileRows * kSumsStride;
  store_tile<kLowerLeft>(sums, kSumsStride);
  store_tile<kLowerRight>(sums + kTileColumnBytes, kSumsStride);
}

/// Any number of rows.
template <class Product>
inline void multiply_block(Tiles& tiles, std::int64_t rows, BlockOperands t) {
  constexpr std::int64_t kMostRows = 2 * kTileRows;
  const std::int64_t step_bytes = t.x_bytes < kTileBytes ? t.x_bytes : kTileBytes;
  const std::int64_t runs = (rows + kMostRows - 1) / kMostRows;
  const std::int64_t last_rows = rows - (runs - 1) * kMostRows;
  const std::int64_t passes = 2 * runs - (last_rows <= kTileRows ? 1 : 0);
  Prefetcher prefetcher(t.fetch, passes * ((t.x_bytes + kTileBytes - 1) / kTileBytes));
  for (std::int64_t run = 0; run < runs; ++run) {
    const std::int64_t count = run + 1 < runs ? kMostRows : last_rows;
    if (count > kTileRows) {
      tiles.set_shapes({kTileRows, count - kTileRows, step_bytes});
      multiply_two_by_two<Product>(t, 0, prefetcher);
      multiply_two_by_two<Product>(t, kPanelRowBytes / 2, prefetcher);
    } else {
      tiles.set_shapes({count, count, step_bytes});
      start_one_by_four(t);
      add_one_by_four<Product>(t, prefetcher);
      store_one_by_four(t);
    }
    t.x += kMostRows * t.x_stride;
    t.sums += kMostRows * kSumsStride;
    if (t.start != nullptr) t.start += kMostRows * t.start_stride;
  }
}

}  // namespace
}  // namespace iol::cpu
