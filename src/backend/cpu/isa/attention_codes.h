#pragma once
// Attention over a quantized cache: int8 or E4M3 codes, one f32 scale for each position's key and
// one for its value (see CacheView). With s the scales and c the codes of position p,
//   score[p] = (sum over d of q[d] * ck[p][d]) * sk[p],  sums[d] += (w[p] * sv[p]) * cv[p][d].
//
// Codes are widened in registers, four to a step: to f32, or with a bf16 dot product to bf16, which
// holds every code exactly; queries and scaled weights are rounded to bf16 there. Each accumulator
// takes the steps in ascending order, however rows and tiles of positions are grouped.
#include <cstdint>

#include "backend/cpu/isa/attention.h"
#include "backend/cpu/isa/linear_widened.h"
#include "backend/cpu/kernel_table.h"

namespace iol::cpu {
namespace {

/// Four codes in each of sixteen columns, [16][4], against four activations.
template <class S, class Codes>
struct WidenedCodes {
  using Activation = float;
  static constexpr float kUnit = Codes::kUnit;
  struct Columns {
    typename S::F part[4];
  };
  static Columns load(const std::byte* p) {
    Columns columns;
    Codes::widen(p, columns.part);
    return columns;
  }
  static typename S::F accumulate(typename S::F sum, const float* x, const Columns& w) {
    for (int j = 0; j < 4; ++j) sum = S::fma(S::broadcast(x[j]), w.part[j], sum);
    return sum;
  }
};

#ifdef __AVX512BF16__
template <class S, class Codes>
struct PairedCodes {
  using Activation = std::uint16_t;
  static constexpr float kUnit = 1.0F;
  struct Columns {
    __m512i pair[2];
  };
  static Columns load(const std::byte* p) {
    Columns columns;
    Codes::widen_pairs(p, columns.pair);
    return columns;
  }
  static __m512 accumulate(__m512 sum, const std::uint16_t* x, const Columns& w) {
    for (int j = 0; j < 2; ++j) {
      int pair;
      __builtin_memcpy(&pair, x + 2 * j, sizeof(pair));
      sum = _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(_mm512_set1_epi32(pair)),
                             reinterpret_cast<__m512bh>(w.pair[j]));
    }
    return sum;
  }
};
template <class S, class Codes>
using CodeFormat = PairedCodes<S, Codes>;
#else
template <class S, class Codes>
using CodeFormat = WidenedCodes<S, Codes>;
#endif

/// Bytes of a step: four codes in sixteen columns.
inline constexpr std::int64_t kStepBytes = 64;
inline constexpr std::int64_t kMostTiles = kChunkPositions / kKeyTile;

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
  const std::int64_t runs = (rows + kMost - 1) / kMost;
  for (std::int64_t run = 0; run < runs; ++run) {
    const std::int64_t first = rows * run / runs;
    call.template operator()<kMost>(call, first, rows * (run + 1) / runs - first);
  }
}

/// A chunk's tiles of sixteen positions, keys or values of a head, and what to fetch meanwhile: a
/// tile of the same size for each.
struct CodeTiles {
  const std::byte* codes[kMostTiles];
  const std::byte* ahead[kMostTiles];
  std::int64_t count;
};

template <class S, class Codes>
struct CodedCache {
  using Format = CodeFormat<S, Codes>;
  using Query = typename Format::Activation;
  using Weight = typename Format::Activation;
  static constexpr bool kScaled = true;

  static void load_scales(const AttentionTask& task, const AttentionTile& tile, Chunk chunk) {
    const std::int64_t codes = task.cache.block_size * task.cache.head_dim;
    const std::int64_t last = task.first_position + task.num_tokens;
    const auto scales_at = [&](std::int64_t position) {
      return head_at(task, position) + codes + position % task.cache.block_size * sizeof(float);
    };
    const auto copy = [](const std::byte* scales, float* out) {
      const auto scale = S::load(reinterpret_cast<const float*>(scales));
      S::store(out, S::mul(scale, S::broadcast(Format::kUnit)));
    };
    for (std::int64_t p = 0; p < chunk.count; p += kKeyTile) {
      const std::byte* scales = scales_at(chunk.first + p);
      copy(scales, tile.key_scales + p);
      copy(scales + cache_values_offset(task.cache), tile.value_scales + p);
      const std::int64_t next = chunk.first + p + kChunkPositions;
      if (next < last) {
        const std::byte* ahead = scales_at(next);
        S::prefetch(ahead);
        S::prefetch(ahead + cache_values_offset(task.cache));
      }
    }
  }

  static void score(const AttentionTask& task, const AttentionTile& tile, std::int64_t rows,
                    Chunk chunk) {
    const CodeTiles keys = key_tiles(task, chunk);
    const std::int64_t dim = task.cache.head_dim;
    for_row_runs<kMostRows>(rows, [&]<int kRows>(std::int64_t first) {
      const Query* queries = static_cast<const Query*>(tile.queries) + first * dim;
      float* scores = tile.scores + first * kChunkPositions;
      constexpr int kTiles = blocks_beside(kRows);
      std::int64_t t = 0;
      for (; t + kTiles <= keys.count; t += kTiles)
        score_tiles<kRows, kTiles>(queries, dim, keys, t, scores);
      for (; t < keys.count; ++t) score_tiles<kRows, 1>(queries, dim, keys, t, scores);
    });
  }

  static void add_values(const AttentionTask& task, const AttentionTile& tile, std::int64_t rows,
                         Chunk chunk) {
    const CodeTiles values = value_tiles(task, chunk);
    const std::int64_t dim = task.cache.head_dim;
    for_row_runs<kMostRows>(rows, [&]<int kRows>(std::int64_t first) {
      const auto* weights = reinterpret_cast<const Weight*>(tile.scores + first * kChunkPositions);
      float* sums = tile.sums + first * dim;
      constexpr int kBlocks = blocks_beside(kRows);
      std::int64_t d = 0;
      for (; d + 16 * kBlocks <= dim; d += 16 * kBlocks)
        add_tiles<kRows, kBlocks>(weights, values, dim, d, sums);
      for (; d < dim; d += 16) add_tiles<kRows, 1>(weights, values, dim, d, sums);
    });
  }

 private:
  /// What registers hold beside widened codes and look-up tables. Few rows need more blocks of
  /// sixteen columns side by side to hide the latency of an addition.
  static constexpr bool kManyRegisters = S::kMaxAccumulators >= 16;
  static constexpr int kMostRows = kManyRegisters ? 8 : 3;
  static constexpr int blocks_beside(int rows) { return !kManyRegisters ? 1 : rows <= 2 ? 4 : 2; }

  static const std::byte* keys_at(const AttentionTask& task, std::int64_t position) {
    return head_at(task, position) + position % task.cache.block_size * task.cache.head_dim;
  }

  /// The chunk's keys; its values are fetched meanwhile.
  static CodeTiles key_tiles(const AttentionTask& task, Chunk chunk) {
    CodeTiles tiles;
    tiles.count = (chunk.count + kKeyTile - 1) / kKeyTile;
    for (std::int64_t t = 0; t < tiles.count; ++t) {
      tiles.codes[t] = keys_at(task, chunk.first + t * kKeyTile);
      tiles.ahead[t] = tiles.codes[t] + cache_values_offset(task.cache);
    }
    return tiles;
  }

  /// The chunk's values; the keys of the next chunk are fetched meanwhile.
  static CodeTiles value_tiles(const AttentionTask& task, Chunk chunk) {
    const std::int64_t last = task.first_position + task.num_tokens;
    CodeTiles tiles;
    tiles.count = (chunk.count + kKeyTile - 1) / kKeyTile;
    for (std::int64_t t = 0; t < tiles.count; ++t) {
      const std::int64_t position = chunk.first + t * kKeyTile;
      const std::int64_t next = position + kChunkPositions;
      tiles.codes[t] = keys_at(task, position) + cache_values_offset(task.cache);
      tiles.ahead[t] = next < last ? keys_at(task, next) : tiles.codes[t];
    }
    return tiles;
  }

  /// Scores [kRows, kChunkPositions] of the positions of tiles [first, first + kTiles).
  template <int kRows, int kTiles>
  static void score_tiles(const Query* queries, std::int64_t dim, const CodeTiles& keys,
                          std::int64_t first, float* scores) {
    typename S::F sum[kRows][kTiles];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int t = 0; t < kTiles; ++t) sum[r][t] = S::zero();
    }
    for (std::int64_t d = 0; d < dim; d += 4) {
      typename Format::Columns columns[kTiles];
#pragma GCC unroll 4
      for (int t = 0; t < kTiles; ++t) {
        columns[t] = Format::load(keys.codes[first + t] + d / 4 * kStepBytes);
        S::prefetch(keys.ahead[first + t] + d / 4 * kStepBytes);
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

  /// Columns [d, d + 16 kBlocks) of sums [kRows, dim] over all tiles.
  template <int kRows, int kBlocks>
  static void add_tiles(const Weight* weights, const CodeTiles& values, std::int64_t dim,
                        std::int64_t d, float* sums) {
    constexpr std::int64_t kStride = kChunkPositions * sizeof(float) / sizeof(Weight);
    typename S::F sum[kRows][kBlocks];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int b = 0; b < kBlocks; ++b) sum[r][b] = S::load(sums + r * dim + d + b * 16);
    }
    for (std::int64_t step = 0; step < values.count * (kKeyTile / 4); ++step) {
      const std::int64_t offset = (step % (kKeyTile / 4) * dim + d) * 4;
      const std::byte* codes = values.codes[step / (kKeyTile / 4)] + offset;
      const std::byte* ahead = values.ahead[step / (kKeyTile / 4)] + offset;
      typename Format::Columns columns[kBlocks];
#pragma GCC unroll 4
      for (int b = 0; b < kBlocks; ++b) {
        columns[b] = Format::load(codes + b * kStepBytes);
        S::prefetch(ahead + b * kStepBytes);
      }
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
        for (int b = 0; b < kBlocks; ++b)
          sum[r][b] = Format::accumulate(sum[r][b], weights + r * kStride + step * 4, columns[b]);
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int b = 0; b < kBlocks; ++b) S::store(sums + r * dim + d + b * 16, sum[r][b]);
    }
  }
};

}  // namespace
}  // namespace iol::cpu
