#pragma once
// Causal attention over paged keys and values, with online softmax (Milakov, Gimelshein 2018; Dao
// et al. 2022).
//
// Rows of a tile are (token, query head) pairs that share one key-value head. Positions are walked
// in chunks that start at multiples of kChunkPositions; a chunk that is masked for a row leaves
// that row untouched, so a row's result depends on its own position only, not on its tile.
//
// A Cache says how a chunk of keys and values is read (PlainCache below, CodedCache in
// attention_codes.h):
//   Query, Weight          elements that keys and values are multiplied with
//   kScaled                whether positions have scales, which load_scales() puts into the tile
//   score(...)             scores[r][p] = sum over d of query[r][d] * key[p][d]
//   add_values(...)        sums[r][d] += sum over p of weight[r][p] * value[p][d]
#include <cstdint>

#include "backend/cpu/isa/linear.h"
#include "backend/cpu/isa/tile.h"
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

/// Fetches what will be read next while something else is computed.
template <class S>
inline void fetch(const std::byte* begin, std::int64_t bytes) {
  for (std::int64_t i = 0; i < bytes; i += 64) S::prefetch(begin + i);
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
/// adds up the weights without them.
template <class S, class Cache>
inline void soften_row(const AttentionTask& task, const AttentionTile& tile, std::int64_t row,
                       Visible see, std::int64_t chunk_positions) {
  constexpr auto kElement = sizeof(typename Cache::Weight) == 2 ? Element::kBf16 : Element::kF32;
  constexpr float kMinusInfinity = -__builtin_inff();
  float* scores = tile.scores + row * kChunkPositions;
  if (see.begin >= see.end) {
    for (std::int64_t i = 0; i < chunk_positions; i += 16) S::store(scores + i, S::zero());
    return;
  }
  const auto scale = S::broadcast(task.scale);
  // Masked after scaling: behind the last position lies what an earlier sequence left.
  const auto lanes = [&](std::int64_t i, typename S::F x, float fill) {
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

/// Keys and values that are numbers as they are.
template <class S, class KeyFormat, class ValueFormat>
struct PlainCache {
  using Query = typename KeyFormat::Activation;
  using Weight = float;
  static constexpr bool kScaled = false;

  static void score(const AttentionTask& task, const AttentionTile& tile, std::int64_t rows,
                    Chunk chunk) {
    const std::int64_t dim = task.cache.head_dim;
    for (std::int64_t p = 0; p < chunk.count; p += kKeyTile) {
      const std::int64_t position = chunk.first + p;
      fetch<S>(values_at(task, position), tile_bytes(task));
      TileOperands<KeyFormat> t;
      t.x = static_cast<const Query*>(tile.queries);
      t.x_stride = dim;
      t.w = keys_at(task, position);
      t.w_step_bytes = KeyFormat::kBlockBytes;
      t.num_steps = dim / KeyFormat::kStep;
      t.prefetch = nullptr;
      t.prefetch_lines = 0;
      t.partial = nullptr;
      t.partial_stride = 0;
      t.out = tile.scores + p;
      t.out_stride = kChunkPositions;
      multiply<S, KeyFormat, 1>(rows, t);
    }
  }

  static void add_values(const AttentionTask& task, const AttentionTile& tile, std::int64_t rows,
                         Chunk chunk) {
    const std::int64_t last = task.first_position + task.num_tokens;
    for (std::int64_t p = 0; p < chunk.count; p += kKeyTile) {
      const std::int64_t position = chunk.first + p;
      const std::int64_t next = position + kChunkPositions;
      if (next < last) fetch<S>(keys_at(task, next), tile_bytes(task));
      add_tile(task, tile, rows, p, chunk.count - p < kKeyTile ? chunk.count - p : kKeyTile,
               values_at(task, position));
    }
  }

 private:
  static std::int64_t tile_bytes(const AttentionTask& task) {
    return task.cache.head_dim / KeyFormat::kStep * KeyFormat::kBlockBytes;
  }
  static const std::byte* keys_at(const AttentionTask& task, std::int64_t position) {
    return head_at(task, position) + position % task.cache.block_size / kKeyTile * tile_bytes(task);
  }
  static const std::byte* values_at(const AttentionTask& task, std::int64_t position) {
    return head_at(task, position) + cache_values_offset(task.cache) +
           position % task.cache.block_size * (task.cache.head_dim / 16 * ValueFormat::kBlockBytes);
  }

  /// sums += weights x values for one key tile of at most sixteen positions.
  static void add_tile(const AttentionTask& task, const AttentionTile& tile, std::int64_t rows,
                       std::int64_t chunk_offset, std::int64_t positions, const std::byte* values) {
    const std::int64_t dim = task.cache.head_dim;
    TileOperands<ValueFormat> t;
    t.x = tile.scores + chunk_offset;
    t.x_stride = kChunkPositions;
    t.w_step_bytes = dim / 16 * ValueFormat::kBlockBytes;
    t.num_steps = positions;
    t.prefetch = nullptr;
    t.prefetch_lines = 0;
    t.partial_stride = dim;
    t.out_stride = dim;
    const auto columns = [&]<int kBlocks>(std::int64_t d) {
      t.w = values + d / 16 * ValueFormat::kBlockBytes;
      t.partial = tile.sums + d;
      t.out = tile.sums + d;
      multiply<S, ValueFormat, kBlocks>(rows, t);
    };
    std::int64_t d = 0;
    for (; d + 64 <= dim; d += 64) columns.template operator()<4>(d);
    for (; d + 32 <= dim; d += 32) columns.template operator()<2>(d);
    for (; d + 16 <= dim; d += 16) columns.template operator()<1>(d);
  }
};

/// Queries in the element that keys are multiplied with; nothing gathered yet.
template <class S, class Cache>
inline void begin_tile(const AttentionTask& task, const AttentionTile& tile, std::int64_t rows) {
  constexpr auto kElement = sizeof(typename Cache::Query) == 2 ? Element::kBf16 : Element::kF32;
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

template <class S, class Cache>
void attend_rows(const AttentionTask& task) {
  const std::int64_t rows = task.num_tokens * task.group;
  const AttentionTile tile = carve(task.scratch);
  begin_tile<S, Cache>(task, tile, rows);
  // One past the last visible position, and the first.
  const std::int64_t last = task.first_position + task.num_tokens;
  const std::int64_t oldest = task.window > 0 && task.first_position + 1 > task.window
                                  ? task.first_position + 1 - task.window
                                  : 0;
  for (std::int64_t first = oldest / kChunkPositions * kChunkPositions; first < last;
       first += kChunkPositions) {
    const Chunk chunk{first, last - first < kChunkPositions ? last - first : kChunkPositions};
    if constexpr (Cache::kScaled) Cache::load_scales(task, tile, chunk);
    Cache::score(task, tile, rows, chunk);
    for (std::int64_t r = 0; r < rows; ++r)
      soften_row<S, Cache>(task, tile, r, visible(task, r, first), chunk.count);
    Cache::add_values(task, tile, rows, chunk);
  }
  finish_tile<S>(task, tile, rows);
}

}  // namespace
}  // namespace iol::cpu
