#pragma once
// Causal attention over paged keys and values, with online softmax (Milakov, Gimelshein 2018; Dao
// et al. 2022).
//
// Rows of a tile are (token, query head) pairs that share one key-value head. Positions are walked
// in chunks that start at multiples of kChunkPositions; a chunk that is masked for a row leaves
// that row untouched, so a row's result depends on its own position only, not on its tile.
//
// A Cache says how keys and values are read (PlainCache below, CodedCache in attention_codes.h):
//   KeyFormat, ValueFormat            of their tiles (attention_tiles.h)
//   keys_at, values_at(task, p)       where the tile that begins at position p is
//   kScaled                           whether positions have scales, which load_scales() puts into
//                                     the tile
#include <cstdint>

#include "backend/cpu/isa/attention_tiles.h"
#include "backend/cpu/isa/linear.h"
#include "backend/cpu/kernel_table.h"

namespace iol::cpu {
namespace {

/// The tile's working set, carved out of the caller's scratch.
struct AttentionTile {
  float* scores;        // [rows, kChunkPositions]; then weights, in place
  float* sums;          // [rows, D] weighted values
  void* queries;        // [rows, D] in the element that keys are multiplied with
  float* most;          // [rows] running maximum
  float* total;         // [rows] running sum of exponentials
  float* key_scales;    // [kChunkPositions] of a chunk of a quantized cache
  float* value_scales;  // [kChunkPositions]
};

inline AttentionTile carve(std::byte* scratch) {
  AttentionTile tile;
  tile.scores = reinterpret_cast<float*>(scratch);
  tile.sums = tile.scores + kQueryRows * kChunkPositions;
  tile.queries = tile.sums + kQueryRows * kMaxHeadDim;
  tile.key_scales = tile.sums + 2 * kQueryRows * kMaxHeadDim;
  tile.value_scales = tile.key_scales + kChunkPositions;
  tile.most = tile.value_scales + kChunkPositions;
  tile.total = tile.most + kQueryRows;
  return tile;
}

/// The part of a chunk that a row may see: lanes [begin, end) of it.
struct Visible {
  std::int64_t begin;
  std::int64_t end;
};

inline Visible visible(const AttentionTask& task, std::int64_t row, std::int64_t chunk) {
  const std::int64_t position = task.first_position + row / task.group;
  const std::int64_t first =
      task.window > 0 && position + 1 > task.window ? position + 1 - task.window : 0;
  const auto clamp = [](std::int64_t x) {
    return x < 0 ? 0 : x > kChunkPositions ? kChunkPositions : x;
  };
  return {clamp(first - chunk), clamp(position + 1 - chunk)};
}

/// Rescales what a row has gathered when its maximum grows.
template <class S>
inline void raise_maximum(const AttentionTile& tile, std::int64_t row, float most,
                          std::int64_t dim) {
  const float old_most = tile.most[row];
  if (most == old_most) return;
  // e^(old - new); nothing was gathered while the maximum was still minus infinity.
  float factor[16];
  S::store(factor, exponential<S>(S::broadcast(old_most - most)));
  const float rescale = old_most == -__builtin_inff() ? 0.0F : factor[0];
  tile.total[row] *= rescale;
  float* sums = tile.sums + row * dim;
  for (std::int64_t d = 0; d < dim; d += 16)
    S::store(sums + d, S::mul(S::load(sums + d), S::broadcast(rescale)));
  tile.most[row] = most;
}

/// Turns a row's scores of one chunk into weights, in place, and rescales what it has gathered so
/// far. In a quantized cache a position's scales belong to its score and to its weight; `total`
/// adds up the weights without them. kMasked: some position of the chunk isn't visible.
template <class S, class Cache, bool kMasked>
inline void soften_row(const AttentionTask& task, const AttentionTile& tile, std::int64_t row,
                       Visible see, std::int64_t chunk_positions) {
  using Weight = typename Cache::ValueFormat::Activation;
  constexpr auto kElement = sizeof(Weight) == 2 ? Element::kBf16 : Element::kF32;
  constexpr float kMinusInfinity = -__builtin_inff();
  float* scores = tile.scores + row * kChunkPositions;
  const auto scale = S::broadcast(task.scale);
  // Masked after scaling: behind the last position lies what an earlier sequence left.
  const auto lanes = [&](std::int64_t i, typename S::F x, float fill) {
    if constexpr (!kMasked) return x;
    return S::keep_lanes(x, static_cast<int>(see.begin - i), static_cast<int>(see.end - i), fill);
  };
  auto chunk_most = S::broadcast(kMinusInfinity);
  for (std::int64_t i = 0; i < see.end; i += 16) {
    auto score = S::mul(S::load(scores + i), scale);
    if constexpr (Cache::kScaled) score = S::mul(score, S::load(tile.key_scales + i));
    score = lanes(i, score, kMinusInfinity);
    S::store(scores + i, score);
    chunk_most = S::max(chunk_most, score);
  }
  const float chunk_max = S::reduce_max(chunk_most);
  const float most = chunk_max > tile.most[row] ? chunk_max : tile.most[row];
  const auto shift = S::broadcast(most);
  auto sum = S::zero();
  std::int64_t i = 0;
  for (; i < see.end; i += 16) {
    auto weight = lanes(i, exponential<S>(S::sub(S::load(scores + i), shift)), 0.0F);
    sum = S::add(sum, weight);
    if constexpr (Cache::kScaled)
      weight = lanes(i, S::mul(weight, S::load(tile.value_scales + i)), 0.0F);
    store_activation<S>(scores, kElement, i, weight);  // never ahead of what is still to be read
  }
  for (; i < chunk_positions; i += 16) store_activation<S>(scores, kElement, i, S::zero());
  raise_maximum<S>(tile, row, most, task.cache.head_dim);
  tile.total[row] += S::reduce_add(sum);
}

/// A row that sees nothing of a chunk has no weights there.
template <class S, class Cache>
inline void soften_rows(const AttentionTask& task, const AttentionTile& tile, std::int64_t rows,
                        Chunk chunk) {
  for (std::int64_t row = 0; row < rows; ++row) {
    const Visible see = visible(task, row, chunk.first);
    if (see.begin == 0 && see.end == kChunkPositions) {
      soften_row<S, Cache, false>(task, tile, row, see, kChunkPositions);
    } else if (see.begin < see.end) {
      soften_row<S, Cache, true>(task, tile, row, see, chunk.count);
    } else {
      float* weights = tile.scores + row * kChunkPositions;
      for (std::int64_t i = 0; i < chunk.count; i += 16) S::store(weights + i, S::zero());
    }
  }
}

/// Keys and values that are numbers as they are.
template <class S, class Keys, class Values>
struct PlainCache {
  using KeyFormat = Keys;
  using ValueFormat = Values;
  static constexpr bool kScaled = false;

  static const std::byte* keys_at(const AttentionTask& task, std::int64_t position) {
    return head_at(task, position) +
           position % task.cache.block_size / kKeyTile *
               (task.cache.head_dim / KeyFormat::kStep * KeyFormat::kBlockBytes);
  }
  static const std::byte* values_at(const AttentionTask& task, std::int64_t position) {
    return head_at(task, position) + cache_values_offset(task.cache) +
           position % task.cache.block_size * (task.cache.head_dim / 16 * ValueFormat::kBlockBytes);
  }
};

/// Queries in the element that keys are multiplied with; nothing gathered yet.
template <class S, class Cache>
inline void begin_tile(const AttentionTask& task, const AttentionTile& tile, std::int64_t rows) {
  using Query = typename Cache::KeyFormat::Activation;
  constexpr auto kElement = sizeof(Query) == 2 ? Element::kBf16 : Element::kF32;
  const std::int64_t dim = task.cache.head_dim;
  for (std::int64_t r = 0; r < rows; ++r) {
    const float* query = task.queries + r / task.group * task.query_stride + r % task.group * dim;
    for (std::int64_t d = 0; d < dim; d += 16) {
      store_activation<S>(tile.queries, kElement, r * dim + d, S::load(query + d));
      S::store(tile.sums + r * dim + d, S::zero());
    }
    tile.most[r] = -__builtin_inff();
    tile.total[r] = 0.0F;
  }
}

template <class S>
inline void finish_tile(const AttentionTask& task, const AttentionTile& tile, std::int64_t rows) {
  const std::int64_t dim = task.cache.head_dim;
  for (std::int64_t r = 0; r < rows; ++r) {
    const auto inverse = S::broadcast(1.0F / tile.total[r]);
    const std::int64_t out = r / task.group * task.out_stride + r % task.group * dim;
    for (std::int64_t d = 0; d < dim; d += 16) {
      store_activation<S>(task.out, task.out_element, out + d,
                          S::mul(S::load(tile.sums + r * dim + d), inverse));
    }
  }
}

/// Where the chunk of the first visible position begins.
inline std::int64_t first_chunk(const AttentionTask& task) {
  const std::int64_t oldest = task.window > 0 && task.first_position + 1 > task.window
                                  ? task.first_position + 1 - task.window
                                  : 0;
  return oldest / kChunkPositions * kChunkPositions;
}

/// The positions of the chunk at `first` that any row may see.
inline Chunk chunk_at(const AttentionTask& task, std::int64_t first) {
  const std::int64_t left = task.first_position + task.num_tokens - first;
  return {first, left < kChunkPositions ? left : kChunkPositions};
}

template <class S, class Cache>
void attend_rows(const AttentionTask& task) {
  using KeyFormat = typename Cache::KeyFormat;
  using ValueFormat = typename Cache::ValueFormat;
  const auto keys_at = [&](std::int64_t position) { return Cache::keys_at(task, position); };
  const auto values_at = [&](std::int64_t position) { return Cache::values_at(task, position); };
  const std::int64_t dim = task.cache.head_dim;
  const std::int64_t rows = task.num_tokens * task.group;
  const AttentionTile tile = carve(task.scratch);
  begin_tile<S, Cache>(task, tile, rows);
  const std::int64_t last = task.first_position + task.num_tokens;  // one past the last visible
  for (std::int64_t first = first_chunk(task); first < last; first += kChunkPositions) {
    const Chunk chunk = chunk_at(task, first);
    if constexpr (Cache::kScaled) Cache::load_scales(task, tile, chunk);
    score_chunk<S, KeyFormat>(static_cast<const typename KeyFormat::Activation*>(tile.queries),
                              rows, dim, chunk_tiles(chunk, keys_at, values_at), tile.scores);
    soften_rows<S, Cache>(task, tile, rows, chunk);
    // Beside the keys their values are fetched, beside the values the keys of the next chunk.
    const auto next_keys_at = [&](std::int64_t position) {
      const std::int64_t next = position + kChunkPositions;
      return next < last ? keys_at(next) : values_at(position);
    };
    add_chunk<S, ValueFormat>(tile.scores, rows, dim, chunk_tiles(chunk, values_at, next_keys_at),
                              tile.sums);
  }
  finish_tile<S>(task, tile, rows);
}

}  // namespace
}  // namespace iol::cpu
