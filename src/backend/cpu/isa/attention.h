#pragma once
// Causal attention over paged keys and values, with online softmax (Milakov, Gimelshein 2018; Dao
// et al. 2022).
//
// Rows of a tile are (token, query head) pairs that share one key-value head. Positions are walked
// in chunks that start at multiples of kChunkPositions; a chunk that is masked for a row leaves
// that row untouched, so a row's result depends on its own position only, not on its tile.
#include <cstdint>

#include "backend/cpu/isa/linear.h"
#include "backend/cpu/isa/tile.h"
#include "backend/cpu/kernel_table.h"

namespace iol::cpu {
namespace {

/// The tile's working set, carved out of the caller's scratch.
struct AttentionTile {
  float* scores;  // [rows, kChunkPositions]
  float* sums;    // [rows, D] weighted values
  void* queries;  // [rows, D] in the key format's activation element
  float* most;    // [rows] running maximum
  float* total;   // [rows] running sum of exponentials
};

inline AttentionTile carve(std::byte* scratch) {
  AttentionTile tile;
  tile.scores = reinterpret_cast<float*>(scratch);
  tile.sums = tile.scores + kQueryRows * kChunkPositions;
  tile.queries = tile.sums + kQueryRows * kMaxHeadDim;
  tile.most = tile.sums + 2 * kQueryRows * kMaxHeadDim;
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

/// Turns a row's scores of one chunk into weights and rescales what it has gathered so far.
template <class S>
inline void soften_row(const AttentionTask& task, const AttentionTile& tile, std::int64_t row,
                       Visible see, std::int64_t chunk_positions) {
  float* scores = tile.scores + row * kChunkPositions;
  if (see.begin >= see.end) {
    for (std::int64_t i = 0; i < chunk_positions; i += 16) S::store(scores + i, S::zero());
    return;
  }
  const auto scale = S::broadcast(task.scale);
  const auto lanes = [&](std::int64_t i, typename S::F x, float fill) {
    return S::keep_lanes(x, static_cast<int>(see.begin - i), static_cast<int>(see.end - i), fill);
  };
  constexpr float kMinusInfinity = -__builtin_inff();
  auto chunk_most = S::broadcast(kMinusInfinity);
  for (std::int64_t i = 0; i < see.end; i += 16) {
    const auto score = lanes(i, S::mul(S::load(scores + i), scale), kMinusInfinity);
    S::store(scores + i, score);
    chunk_most = S::max(chunk_most, score);
  }
  const float chunk_max = S::reduce_max(chunk_most);
  const float old_most = tile.most[row];
  const float most = chunk_max > old_most ? chunk_max : old_most;
  const auto shift = S::broadcast(most);
  auto sum = S::zero();
  std::int64_t i = 0;
  for (; i < see.end; i += 16) {
    const auto weight = lanes(i, exponential<S>(S::sub(S::load(scores + i), shift)), 0.0F);
    S::store(scores + i, weight);
    sum = S::add(sum, weight);
  }
  for (; i < chunk_positions; i += 16) S::store(scores + i, S::zero());
  if (most != old_most) {
    // e^(old - new); nothing was gathered while the maximum was still minus infinity.
    float factor[16];
    S::store(factor, exponential<S>(S::broadcast(old_most - most)));
    const float rescale = old_most == kMinusInfinity ? 0.0F : factor[0];
    tile.total[row] *= rescale;
    float* sums = tile.sums + row * task.cache.head_dim;
    for (std::int64_t d = 0; d < task.cache.head_dim; d += 16) {
      S::store(sums + d, S::mul(S::load(sums + d), S::broadcast(rescale)));
    }
    tile.most[row] = most;
  }
  tile.total[row] += S::reduce_add(sum);
}

/// sums += weights x values for one key tile of sixteen positions.
template <class S, class ValueFormat>
inline void add_values(const AttentionTask& task, const AttentionTile& tile, std::int64_t rows,
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

template <class S, class KeyFormat, class ValueFormat>
void attend_rows(const AttentionTask& task) {
  const std::int64_t dim = task.cache.head_dim;
  const std::int64_t rows = task.num_tokens * task.group;
  const AttentionTile tile = carve(task.scratch);
  auto* queries = static_cast<typename KeyFormat::Activation*>(tile.queries);
  for (std::int64_t r = 0; r < rows; ++r) {
    const float* query = task.queries + r / task.group * task.query_stride + r % task.group * dim;
    constexpr auto kElement =
        sizeof(typename KeyFormat::Activation) == 2 ? Element::kBf16 : Element::kF32;
    for (std::int64_t d = 0; d < dim; d += 16) {
      store_activation<S>(queries, kElement, r * dim + d, S::load(query + d));
      S::store(tile.sums + r * dim + d, S::zero());
    }
    tile.most[r] = -__builtin_inff();
    tile.total[r] = 0.0F;
  }

  const std::int64_t last =
      task.first_position + task.num_tokens;  // one past the last visible position
  const std::int64_t oldest = task.window > 0 && task.first_position + 1 > task.window
                                  ? task.first_position + 1 - task.window
                                  : 0;
  const std::int64_t value_offset = cache_values_offset(task.cache);
  const std::int64_t key_tile_bytes = dim / KeyFormat::kStep * KeyFormat::kBlockBytes;
  const std::int64_t value_bytes = dim / 16 * ValueFormat::kBlockBytes;
  const auto head_at = [&](std::int64_t position) {
    return task.cache.layer +
           task.block_table[position / task.cache.block_size] * task.cache.block_bytes +
           task.kv_head * task.cache.head_bytes;
  };

  for (std::int64_t chunk = oldest / kChunkPositions * kChunkPositions; chunk < last;
       chunk += kChunkPositions) {
    const std::int64_t positions = last - chunk < kChunkPositions ? last - chunk : kChunkPositions;
    for (std::int64_t p = 0; p < positions; p += kKeyTile) {
      TileOperands<KeyFormat> t;
      t.x = queries;
      t.x_stride = dim;
      t.w = head_at(chunk + p) + (chunk + p) % task.cache.block_size / kKeyTile * key_tile_bytes;
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
    for (std::int64_t r = 0; r < rows; ++r)
      soften_row<S>(task, tile, r, visible(task, r, chunk), positions);
    for (std::int64_t p = 0; p < positions; p += kKeyTile) {
      const std::byte* values =
          head_at(chunk + p) + value_offset + (chunk + p) % task.cache.block_size * value_bytes;
      const std::int64_t count = positions - p < kKeyTile ? positions - p : kKeyTile;
      add_values<S, ValueFormat>(task, tile, rows, p, count, values);
    }
  }

  for (std::int64_t r = 0; r < rows; ++r) {
    const auto inverse = S::broadcast(1.0F / tile.total[r]);
    const std::int64_t out = r / task.group * task.out_stride + r % task.group * dim;
    for (std::int64_t d = 0; d < dim; d += 16) {
      store_activation<S>(task.out, task.out_element, out + d,
                          S::mul(S::load(tile.sums + r * dim + d), inverse));
    }
  }
}

}  // namespace
}  // namespace iol::cpu
