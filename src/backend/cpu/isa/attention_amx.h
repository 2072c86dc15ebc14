#pragma once
// Attention by tiles, over keys and values that are bf16 or become it: the loop of attention.h,
// with both products by tile registers.
//
// A step of a product takes 32 dimensions of a head, or 32 positions. Positions behind the last of
// a sequence count with a weight and a value of zero, so a row's result does not depend on how many
// of them its step has.
#include <cstdint>

#include "backend/cpu/isa/amx_block.h"
#include "backend/cpu/isa/amx_tile.h"
#include "backend/cpu/isa/attention.h"
#include "backend/cpu/isa/attention_codes.h"
#include "backend/cpu/kernel_table.h"

namespace iol::cpu {
namespace {

/// Dimensions or positions in a step.
inline constexpr std::int64_t kAttentionStep = kTileBytes / 2;

/// Whether a model's heads go to tiles. With few query heads for a key-value head, decoding takes
/// less time by vectors: bringing values into the order of tiles has little to share it.
inline bool fits_tiles(const AttentionTask& task) {
  const std::int64_t fewest_heads = task.cache.element == Element::kBf16 ? 4 : 2;
  return task.cache.head_dim % kAttentionStep == 0 && task.group >= fewest_heads;
}

/// A product of up to 32 rows and two blocks of sixteen columns; strides are in bytes.
struct PairOperands {
  const std::byte* x;  // [rows, x_stride] bf16
  std::int64_t x_stride;
  const std::byte* w[2];  // of each block: [16][16 columns][2] bf16 in rows of w_stride
  std::int64_t w_stride;
  std::int64_t w_step_bytes;
  std::int64_t num_steps;
  bool adds;  // to what `out` has; else zeros
  float* out[2];
  std::int64_t out_stride;
};

template <Tile kLeft, Tile kRight>
inline void start_pair(const PairOperands& t, std::int64_t row) {
  if (t.adds) {
    load_tile<kLeft>(reinterpret_cast<const std::byte*>(t.out[0]) + row * t.out_stride,
                     t.out_stride);
    load_tile<kRight>(reinterpret_cast<const std::byte*>(t.out[1]) + row * t.out_stride,
                      t.out_stride);
  } else {
    zero_tile<kLeft>();
    zero_tile<kRight>();
  }
}

template <Tile kLeft, Tile kRight>
inline void store_pair(const PairOperands& t, std::int64_t row) {
  store_tile<kLeft>(reinterpret_cast<std::byte*>(t.out[0]) + row * t.out_stride, t.out_stride);
  store_tile<kRight>(reinterpret_cast<std::byte*>(t.out[1]) + row * t.out_stride, t.out_stride);
}

/// Calls each_step() beside each of t.num_steps.
template <class EachStep>
inline void multiply_pair(const PairOperands& t, bool has_lower_rows, EachStep each_step) {
  start_pair<kUpperLeft, kUpperRight>(t, 0);
  if (has_lower_rows) start_pair<kLowerLeft, kLowerRight>(t, kTileRows);
  const std::byte* x = t.x;
  std::int64_t offset = 0;
  for (std::int64_t step = 0; step < t.num_steps;
       ++step, x += kTileBytes, offset += t.w_step_bytes) {
    each_step();
    load_tile<kUpperX>(x, t.x_stride);
    load_tile<kEvenW>(t.w[0] + offset, t.w_stride);
    Bf16Product::add<kUpperLeft, kUpperX, kEvenW>();
    load_tile<kOddW>(t.w[1] + offset, t.w_stride);
    Bf16Product::add<kUpperRight, kUpperX, kOddW>();
    if (!has_lower_rows) continue;
    load_tile<kLowerX>(x + kTileRows * t.x_stride, t.x_stride);
    Bf16Product::add<kLowerLeft, kLowerX, kEvenW>();
    Bf16Product::add<kLowerRight, kLowerX, kOddW>();
  }
  store_pair<kUpperLeft, kUpperRight>(t, 0);
  if (has_lower_rows) store_pair<kLowerLeft, kLowerRight>(t, kTileRows);
}

/// bf16 as it is in the cache.
///
/// stage_keys: a key tile as [D / 2][16 positions][2]; stage_values: `count` of the 16 positions of
/// a value tile as [8][D][2], zeros for the others. Both fetch what is `ahead`, which is as large.
template <class S>
struct AmxPlainCache : PlainCache<S, Bf16DotFormat<S>, Bf16RowFormat<S>> {
  using ValueFormat = Bf16DotFormat<S>;
  static constexpr bool kStagesKeys = false;

  static void stage_values(const std::byte* values, std::int64_t dim, std::int64_t count,
                           const std::byte* ahead, std::byte* stage) {
    const auto* rows = reinterpret_cast<const std::uint16_t*>(values);
    const auto load = [&](std::int64_t position, std::int64_t d) {
      if (position >= count) return _mm512_setzero_si512();
      const auto* p = reinterpret_cast<const __m256i*>(rows + position * dim + d);
      return _mm512_cvtepu16_epi32(_mm256_loadu_si256(p));
    };
    for (std::int64_t p = 0; p < kKeyTile; p += 2) {
      for (std::int64_t d = 0; d < dim; d += 16, stage += 64, ahead += 64) {
        const __m512i odd = _mm512_slli_epi32(load(p + 1, d), 16);
        _mm512_store_si512(stage, _mm512_or_si512(load(p, d), odd));
        S::prefetch(ahead);
      }
    }
  }
};

/// int8 and fp8, widened.
template <class S, class Codes>
struct AmxCodedCache : CodedCache<S, Codes> {
  static constexpr bool kStagesKeys = true;

  static void stage_keys(const std::byte* keys, std::int64_t dim, const std::byte* ahead,
                         std::byte* stage) {
    for (std::int64_t d = 0; d < dim; d += 4, keys += 64, ahead += 64, stage += 128) {
      __m512i pairs[2];
      Codes::widen_pairs(keys, pairs);
      _mm512_store_si512(stage, pairs[0]);
      _mm512_store_si512(stage + 64, pairs[1]);
      S::prefetch(ahead);
    }
  }
  static void stage_values(const std::byte* values, std::int64_t dim, std::int64_t count,
                           const std::byte* ahead, std::byte* stage) {
    for (std::int64_t p = 0; p < kKeyTile; p += 4, stage += 8 * dim) {
      // Of four positions as pairs, where the second or both can be absent.
      const auto kept = [&](std::int64_t first, __m512i pair) {
        if (first + 1 < count) return pair;
        if (first < count) return _mm512_and_si512(pair, _mm512_set1_epi32(0xffff));
        return _mm512_setzero_si512();
      };
      for (std::int64_t d = 0; d < dim; d += 16, values += 64, ahead += 64) {
        __m512i pairs[2];
        Codes::widen_pairs(values, pairs);
        _mm512_store_si512(stage + d * 4, kept(p, pairs[0]));
        _mm512_store_si512(stage + (dim + d) * 4, kept(p + 2, pairs[1]));
        S::prefetch(ahead);
      }
    }
  }
};

/// Scores [rows, kChunkPositions] of all tiles of a chunk.
template <class Cache>
inline void score_chunk_amx(const AttentionTile& tile, std::int64_t rows, std::int64_t dim,
                            const ChunkTiles& keys, std::byte* stage) {
  const std::int64_t tile_bytes = kKeyTile * dim * 2;
  PairOperands t;
  t.x = static_cast<const std::byte*>(tile.queries);
  t.x_stride = dim * 2;
  t.w_stride = kTileBytes;
  t.w_step_bytes = kTileBytes * kTileRows;
  t.num_steps = dim / kAttentionStep;
  t.adds = false;
  t.out_stride = kChunkPositions * sizeof(float);
  for (std::int64_t first = 0; first < keys.num_tiles; first += 2) {
    // Without a second tile the first one is multiplied twice; nobody reads these scores.
    const std::int64_t second = first + 1 < keys.num_tiles ? first + 1 : first;
    t.w[0] = keys.data[first];
    t.w[1] = keys.data[second];
    t.out[0] = tile.scores + first * kKeyTile;
    t.out[1] = t.out[0] + kKeyTile;
    if constexpr (Cache::kStagesKeys) {
      t.w[0] = stage;
      t.w[1] = stage + tile_bytes;
      Cache::stage_keys(keys.data[first], dim, keys.ahead[first], stage);
      Cache::stage_keys(keys.data[second], dim, keys.ahead[second], stage + tile_bytes);
      multiply_pair(t, rows > kTileRows, [] {});
    } else {
      Prefetcher left({keys.ahead[first], tile_bytes, false}, t.num_steps);
      Prefetcher right({keys.ahead[second], tile_bytes, false}, t.num_steps);
      multiply_pair(t, rows > kTileRows, [&] {
        left.step();
        right.step();
      });
    }
  }
}

/// sums [rows, dim] += weights x values of all tiles of a chunk.
template <class Cache>
inline void add_chunk_amx(const AttentionTile& tile, std::int64_t rows, std::int64_t dim,
                          const ChunkTiles& values, std::byte* stage) {
  const std::int64_t tile_bytes = kKeyTile * dim * 2;
  for (std::int64_t i = 0; i < values.num_tiles; ++i) {
    const std::int64_t left = values.num_positions - i * kKeyTile;
    Cache::stage_values(values.data[i], dim, left < kKeyTile ? left : kKeyTile, values.ahead[i],
                        stage + i * tile_bytes);
  }
  if (values.num_tiles % 2 != 0)  // the second half of a step
    __builtin_memset(stage + values.num_tiles * tile_bytes, 0,
                     static_cast<std::size_t>(tile_bytes));
  PairOperands t;
  t.x = reinterpret_cast<const std::byte*>(tile.scores);
  t.x_stride = kChunkPositions * sizeof(float);
  t.w_stride = dim * 4;
  t.w_step_bytes = 2 * tile_bytes;
  t.num_steps = (values.num_tiles + 1) / 2;
  t.adds = true;
  t.out_stride = dim * static_cast<std::int64_t>(sizeof(float));
  for (std::int64_t d = 0; d < dim; d += 2 * kBlockColumns) {
    for (int i = 0; i < 2; ++i) {
      t.w[i] = stage + (d + i * kBlockColumns) * 4;
      t.out[i] = tile.sums + d + i * kBlockColumns;
    }
    multiply_pair(t, rows > kTileRows, [] {});
  }
}

template <class S, class Cache>
void attend_rows_amx(const AttentionTask& task) {
  const auto keys_at = [&](std::int64_t position) { return Cache::keys_at(task, position); };
  const auto values_at = [&](std::int64_t position) { return Cache::values_at(task, position); };
  const std::int64_t dim = task.cache.head_dim;
  const std::int64_t rows = task.num_tokens * task.group;
  const AttentionTile tile = carve(task.scratch);
  std::byte* stage = task.scratch + kAttentionTileBytes;
  Tiles tiles;
  tiles.set_shapes({rows < kTileRows ? rows : kTileRows, rows > kTileRows ? rows - kTileRows : rows,
                    kTileBytes});
  begin_tile<S, Cache>(task, tile, rows);
  const std::int64_t last = task.first_position + task.num_tokens;
  for (std::int64_t first = first_chunk(task); first < last; first += kChunkPositions) {
    const Chunk chunk = chunk_at(task, first);
    if constexpr (Cache::kScaled) Cache::load_scales(task, tile, chunk);
    score_chunk_amx<Cache>(tile, rows, dim, chunk_tiles(chunk, keys_at, values_at), stage);
    const std::int64_t whole_steps = (chunk.count + kAttentionStep - 1) / kAttentionStep;
    soften_rows<S, Cache>(task, tile, rows, {first, whole_steps * kAttentionStep});
    const auto next_keys_at = [&](std::int64_t position) {
      const std::int64_t next = position + kChunkPositions;
      return next < last ? keys_at(next) : values_at(position);
    };
    add_chunk_amx<Cache>(tile, rows, dim, chunk_tiles(chunk, values_at, next_keys_at), stage);
  }
  finish_tile<S>(task, tile, rows);
}

}  // namespace
}  // namespace iol::cpu
