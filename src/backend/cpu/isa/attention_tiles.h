#pragma once
// The two products of attention over a chunk of positions, a few rows at a time:
//   scores[r][p] = sum over d of query[r][d] * key[p][d]
//   sums[r][d]  += sum over p of weight[r][p] * value[p][d]
//
// Keys and values come in tiles of sixteen positions, which formats (formats.h) read a block of
// sixteen columns at a time: a key tile is [D / step] blocks of [16 positions][step], a value tile
// [16 / step][D / 16] blocks of [16 of D][step]. Each accumulator takes d, or p, in ascending
// order, however rows and blocks are grouped: results don't depend on it.
#include <cstdint>

#include "backend/cpu/kernel_table.h"

namespace iol::cpu {
namespace {

/// Positions [first, first + count) of a sequence, at most a chunk of them.
struct Chunk {
  std::int64_t first;
  std::int64_t count;
};

/// Where the keys and values of the block that holds `position` begin, for the task's head.
inline const std::byte* head_at(const AttentionTask& task, std::int64_t position) {
  return task.cache.layer +
         task.block_table[position / task.cache.block_size] * task.cache.block_bytes +
         task.kv_head * task.cache.head_bytes;
}

/// A chunk's tiles, keys or values of a head, and what to fetch meanwhile: a tile of about the same
/// size for each.
struct ChunkTiles {
  static constexpr std::int64_t kMost = kChunkPositions / kKeyTile;
  const std::byte* data[kMost];
  const std::byte* ahead[kMost];
  std::int64_t num_tiles;
  std::int64_t num_positions;
};

/// at(position): where the tile that begins there is; ahead(position): what to fetch meanwhile.
template <class At, class Ahead>
inline ChunkTiles chunk_tiles(Chunk chunk, At at, Ahead ahead) {
  ChunkTiles tiles;
  tiles.num_positions = chunk.count;
  tiles.num_tiles = (chunk.count + kKeyTile - 1) / kKeyTile;
  for (std::int64_t t = 0; t < tiles.num_tiles; ++t) {
    tiles.data[t] = at(chunk.first + t * kKeyTile);
    tiles.ahead[t] = ahead(chunk.first + t * kKeyTile);
  }
  return tiles;
}

/// Calls work.operator()<kRows>(first row) for runs of at most kMost rows that cover [0, rows).
template <int kMost, class Work>
inline void for_row_runs(std::int64_t rows, Work work) {
  const auto call = [&]<int kRows>(auto& self, std::int64_t first, std::int64_t count) {
    if constexpr (kRows > 1) {
      if (count < kRows) {
        self.template operator()<kRows - 1>(self, first, count);
        return;
      }
    }
    work.template operator()<kRows>(first);
  };
  // Divisions of 32 bits: before Ice Lake one of 64 takes as long as ninety additions.
  const auto num_rows = static_cast<std::uint32_t>(rows);
  const std::uint32_t runs = (num_rows + kMost - 1) / kMost;
  const std::uint32_t height = num_rows / runs;
  const std::uint32_t num_higher = num_rows - height * runs;
  std::int64_t first = 0;
  for (std::uint32_t run = 0; run < runs; ++run) {
    const std::int64_t count = height + (run < num_higher ? 1 : 0);
    call.template operator()<kMost>(call, first, count);
    first += count;
  }
}

/// What registers hold beside loaded blocks. Few rows need more blocks side by side to hide the
/// latency of an addition.
template <class S, class Format>
struct Registers {
  static constexpr bool kMany = S::kMaxAccumulators >= 16;
  static constexpr int kMostRows = kMany                ? 8
                                   : Format::kStep == 4 ? S::kMaxAccumulators / 2
                                                        : S::kMaxAccumulators;
  static constexpr int blocks_beside(int rows) { return !kMany ? 1 : rows <= 2 ? 4 : 2; }
};

/// Scores [kRows, kChunkPositions] of the positions of tiles [first, first + kTiles).
template <class S, class Format, int kRows, int kTiles>
inline void score_tiles(const typename Format::Activation* queries, std::int64_t dim,
                        const ChunkTiles& keys, std::int64_t first, float* scores) {
  typename S::F sum[kRows][kTiles];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int t = 0; t < kTiles; ++t) sum[r][t] = S::zero();
  }
  std::int64_t offset = 0;
  for (std::int64_t d = 0; d < dim; d += Format::kStep, offset += Format::kBlockBytes) {
    typename Format::Columns columns[kTiles];
#pragma GCC unroll 4
    for (int t = 0; t < kTiles; ++t) {
      columns[t] = Format::load(keys.data[first + t] + offset);
      S::prefetch(keys.ahead[first + t] + offset);
    }
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int t = 0; t < kTiles; ++t)
        sum[r][t] = Format::accumulate(sum[r][t], queries + r * dim + d, columns[t]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int t = 0; t < kTiles; ++t)
      S::store(scores + r * kChunkPositions + (first + t) * kKeyTile, sum[r][t]);
  }
}

/// Scores [rows, kChunkPositions] of queries [rows, dim] and all tiles.
template <class S, class Format>
inline void score_chunk(const typename Format::Activation* queries, std::int64_t rows,
                        std::int64_t dim, const ChunkTiles& keys, float* scores) {
  using Fit = Registers<S, Format>;
  for_row_runs<Fit::kMostRows>(rows, [&]<int kRows>(std::int64_t first) {
    constexpr int kTiles = Fit::blocks_beside(kRows);
    const auto* run = queries + first * dim;
    float* out = scores + first * kChunkPositions;
    std::int64_t t = 0;
    for (; t + kTiles <= keys.num_tiles; t += kTiles)
      score_tiles<S, Format, kRows, kTiles>(run, dim, keys, t, out);
    for (; t < keys.num_tiles; ++t) score_tiles<S, Format, kRows, 1>(run, dim, keys, t, out);
  });
}

/// Columns [d, d + 16 kBlocks) of sums [kRows, dim] over all positions.
template <class S, class Format, int kRows, int kBlocks>
inline void add_columns(const typename Format::Activation* weights, const ChunkTiles& values,
                        std::int64_t dim, std::int64_t d, float* sums) {
  using Weight = typename Format::Activation;
  constexpr std::int64_t kStride = kChunkPositions * sizeof(float) / sizeof(Weight);
  typename S::F sum[kRows][kBlocks];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int b = 0; b < kBlocks; ++b) sum[r][b] = S::load(sums + r * dim + d + b * 16);
  }
  const std::int64_t step_bytes = dim / 16 * Format::kBlockBytes;
  for (std::int64_t t = 0; t < values.num_tiles; ++t) {
    const std::int64_t left = values.num_positions - t * kKeyTile;
    const std::int64_t positions = left < kKeyTile ? left : kKeyTile;
    std::int64_t offset = d / 16 * Format::kBlockBytes;
    for (std::int64_t p = 0; p < positions; p += Format::kStep, offset += step_bytes) {
      typename Format::Columns columns[kBlocks];
#pragma GCC unroll 4
      for (int b = 0; b < kBlocks; ++b) {
        columns[b] = Format::load(values.data[t] + offset + b * Format::kBlockBytes);
        S::prefetch(values.ahead[t] + offset + b * Format::kBlockBytes);
      }
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
        for (int b = 0; b < kBlocks; ++b) {
          sum[r][b] =
              Format::accumulate(sum[r][b], weights + r * kStride + t * kKeyTile + p, columns[b]);
        }
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int b = 0; b < kBlocks; ++b) S::store(sums + r * dim + d + b * 16, sum[r][b]);
  }
}

/// sums [rows, dim] += weights x values. `weights`: rows of kChunkPositions floats, begun by the
/// weights in their own element.
template <class S, class Format>
inline void add_chunk(const float* weights, std::int64_t rows, std::int64_t dim,
                      const ChunkTiles& values, float* sums) {
  using Fit = Registers<S, Format>;
  for_row_runs<Fit::kMostRows>(rows, [&]<int kRows>(std::int64_t first) {
    constexpr int kBlocks = Fit::blocks_beside(kRows);
    const auto* run =
        reinterpret_cast<const typename Format::Activation*>(weights + first * kChunkPositions);
    float* out = sums + first * dim;
    std::int64_t d = 0;
    for (; d + 16 * kBlocks <= dim; d += 16 * kBlocks)
      add_columns<S, Format, kRows, kBlocks>(run, values, dim, d, out);
    for (; d < dim; d += 16) add_columns<S, Format, kRows, 1>(run, values, dim, d, out);
  });
}

}  // namespace
}  // namespace iol::cpu
