#pragma once
// Scores of a chunk and the weights they become, for attention.cu. A `Chunk` is where its keys,
// values and scales are, see CachedChunk.
#include "backend/cuda/kernels/attention_tile.cuh"

namespace iol::cuda {

/// Of the rows that a lane holds in an mma result: g and g + 8 of each tile.
template <int kTiles>
struct ChunkStats {
  float most[kTiles][2];  // in units of log2; minus infinity: nothing visible
  float total[kTiles][2];
  float weight_scale[kTiles][2];  // what weights were divided by, beside codes
};

template <class Codec, int kTiles, class Chunk>
__device__ __forceinline__ void multiply_keys(const AttentionTask& task, int first_run,
                                              const Chunk& chunk, const Shared& shared,
                                              float (&scores)[kTiles][8][4]) {
  const int lane = threadIdx.x % 32;
  const int units = task.cache.head_dim / 16;
  const std::byte* keys[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) keys[i] = chunk.keys(first_run + i);
#pragma unroll Chunk::kUnitsAhead
  for (int u = 0; u < units; ++u) {
    uint4 operand[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) operand[i] = Codec::operand(load_key<Codec>(keys[i], u, units));
#pragma unroll
    for (int t = 0; t < kTiles; ++t) {
      const uint4 query = shared.queries[(t * units + u) * 32 + lane];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        Codec::mma(scores[t][2 * i], query, operand[i].x, operand[i].y);
        Codec::mma(scores[t][2 * i + 1], query, operand[i].z, operand[i].w);
      }
    }
  }
}

/// Masks what a row doesn't see. What the tile's first row sees all of needs no mask.
template <int kTiles>
__device__ __forceinline__ void mask_scores(const AttentionTask& task, const TileRange& tile,
                                            int first_position, float (&scores)[kTiles][8][4]) {
  const int lane = threadIdx.x % 32;
  const int group = group_of(task);
  if (kTiles > 1 && task.window == 0 &&
      first_position + kWarpPositions - 1 <= tile.first_position + tile.first_row / group)
    return;
#pragma unroll
  for (int t = 0; t < kTiles; ++t) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = t * 16 + half * 8 + lane / 4;
      const int last =
          row < tile.num_rows ? tile.first_position + (tile.first_row + row) / group : -1;
      const int first = task.window > 0 ? last - task.window + 1 : 0;
#pragma unroll
      for (int n = 0; n < 8; ++n) {
#pragma unroll
        for (int c = 0; c < 2; ++c) {
          const int position = first_position + n * 8 + lane % 4 * 2 + c;
          if (position > last || position < first) scores[t][n][half * 2 + c] = -CUDART_INF_F;
        }
      }
    }
  }
}

/// Of a lane's positions: n-th pair of columns, c-th of it.
struct Scales {
  float v[8][2];
};
template <class Chunk>
__device__ __forceinline__ Scales load_scales(int first_run, const Chunk& chunk, bool of_values) {
  Scales scales;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const auto* pairs = reinterpret_cast<const float2*>(chunk.scales(first_run + i, of_values));
#pragma unroll
    for (int n = 0; n < 2; ++n) {
      const float2 pair = pairs[n * 4 + threadIdx.x % 4];
      scales.v[2 * i + n][0] = pair.x;
      scales.v[2 * i + n][1] = pair.y;
    }
  }
  return scales;
}

/// Products with codes times the scales of keys, before any is masked.
template <int kTiles>
__device__ __forceinline__ void scale_scores(const Scales& key_scales,
                                             float (&scores)[kTiles][8][4]) {
#pragma unroll
  for (int t = 0; t < kTiles; ++t) {
#pragma unroll
    for (int n = 0; n < 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i)
        scores[t][n][i] = __fmul_rn(scores[t][n][i], key_scales.v[n][i % 2]);
    }
  }
}

/// What brings a row's scores to units of log2.
template <class Codec>
__device__ __forceinline__ float score_factor(const AttentionTask& task, const Shared& shared,
                                              int row) {
  return Codec::kCoded ? shared.factors[row] : task.scale * kLog2E;
}

/// Weights times the scales of values, divided by a power of two of each row's.
template <int kTiles>
__device__ __forceinline__ void scale_weights(const Scales& value_scales, const Shared& shared,
                                              float (&weights)[kTiles][8][4],
                                              ChunkStats<kTiles>& stats) {
  const int lane = threadIdx.x % 32;
  const int warp = threadIdx.x / 32;
#pragma unroll
  for (int t = 0; t < kTiles; ++t) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      std::uint32_t largest = 0;
#pragma unroll
      for (int n = 0; n < 8; ++n) {
#pragma unroll
        for (int c = 0; c < 2; ++c) {
          float& weight = weights[t][n][half * 2 + c];
          // What is masked stays masked, whatever scale it has.
          if (weight != 0.0F) weight = __fmul_rn(weight, value_scales.v[n][c]);
        }
        largest = larger(largest, weights[t][n][half * 2], weights[t][n][half * 2 + 1]);
      }
      largest = largest_of_lanes(largest, 4);
      if (lane % 4 == 0)
        shared.weighted[warp * kTiles * 16 + t * 16 + half * 8 + lane / 4] = largest;
    }
  }
  __syncthreads();
#pragma unroll
  for (int t = 0; t < kTiles; ++t) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = t * 16 + half * 8 + lane / 4;
      std::uint32_t largest = shared.weighted[row];
#pragma unroll
      for (int w = 1; w < kAttentionWarps; ++w)
        largest = max(largest, shared.weighted[w * kTiles * 16 + row]);
      const F16Scale found(largest);
      stats.weight_scale[t][half] = found.scale;
#pragma unroll
      for (int n = 0; n < 8; ++n) {
#pragma unroll
        for (int c = 0; c < 2; ++c)
          weights[t][n][half * 2 + c] = __fmul_rn(weights[t][n][half * 2 + c], found.inverse);
      }
    }
  }
}

/// The lane's largest of each row, then over the four lanes that share it and over all warps.
template <class Codec, int kTiles>
__device__ __forceinline__ void find_most(const AttentionTask& task, const Shared& shared,
                                          const float (&scores)[kTiles][8][4],
                                          ChunkStats<kTiles>& stats) {
  const int lane = threadIdx.x % 32;
  const int warp = threadIdx.x / 32;
#pragma unroll
  for (int t = 0; t < kTiles; ++t) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float most = -CUDART_INF_F;
#pragma unroll
      for (int n = 0; n < 8; ++n)
        most = fmaxf(most, fmaxf(scores[t][n][half * 2], scores[t][n][half * 2 + 1]));
      most = fmaxf(most, __shfl_xor_sync(0xffffffffU, most, 1));
      most = fmaxf(most, __shfl_xor_sync(0xffffffffU, most, 2));
      if (lane % 4 == 0) shared.most[warp * kTiles * 16 + t * 16 + half * 8 + lane / 4] = most;
    }
  }
  __syncthreads();
#pragma unroll
  for (int t = 0; t < kTiles; ++t) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = t * 16 + half * 8 + lane / 4;
      float most = shared.most[row];
#pragma unroll
      for (int w = 1; w < kAttentionWarps; ++w)
        most = fmaxf(most, shared.most[w * kTiles * 16 + row]);
      stats.most[t][half] = __fmul_rn(most, score_factor<Codec>(task, shared, row));
    }
  }
}

/// Weights 2^(score * factor - most) in place; their sums to shared memory.
template <class Codec, int kTiles>
__device__ __forceinline__ void exponentiate(const AttentionTask& task, const Shared& shared,
                                             const ChunkStats<kTiles>& stats,
                                             float (&scores)[kTiles][8][4]) {
  const int lane = threadIdx.x % 32;
  const int warp = threadIdx.x / 32;
#pragma unroll
  for (int t = 0; t < kTiles; ++t) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = t * 16 + half * 8 + lane / 4;
      const float factor = score_factor<Codec>(task, shared, row);
      const float most = stats.most[t][half] == -CUDART_INF_F ? 0.0F : stats.most[t][half];
      float total = 0;
#pragma unroll
      for (int n = 0; n < 8; ++n) {
        float& first = scores[t][n][half * 2];
        float& second = scores[t][n][half * 2 + 1];
        first = power_of_two(__fmaf_rn(first, factor, -most));
        second = power_of_two(__fmaf_rn(second, factor, -most));
        total = __fadd_rn(total, __fadd_rn(first, second));
      }
      total += __shfl_xor_sync(0xffffffffU, total, 1);
      total += __shfl_xor_sync(0xffffffffU, total, 2);
      if (lane % 4 == 0) shared.totals[warp * kTiles * 16 + row] = total;
    }
  }
}

template <class Codec, int kTiles>
__device__ __forceinline__ void store_weights(const float (&weights)[kTiles][8][4], uint4* out) {
  const int lane = threadIdx.x % 32;
  const int warp = threadIdx.x / 32;
  auto* pairs = reinterpret_cast<std::uint32_t*>(out);
#pragma unroll
  for (int t = 0; t < kTiles; ++t) {
#pragma unroll
    for (int n = 0; n < 8; ++n) {
      const int column = warp * kWarpPositions + n * 8 + lane % 4 * 2;
#pragma unroll
      for (int half = 0; half < 2; ++half)
        pairs[operand_index(16, t * 16 + half * 8 + lane / 4, column) / 2] =
            Codec::pack(weights[t][n][half * 2], weights[t][n][half * 2 + 1]);
    }
  }
}

template <int kTiles>
using Scores = float[kTiles][8][4];

__device__ __forceinline__ int warp_run() {  // of the chunk, the warp's first
  return static_cast<int>(threadIdx.x) / 32 * (kWarpPositions / 16);
}

/// Products of the tile's rows with the warp's keys of chunk `index`.
template <class Codec, int kTiles, class Chunk>
__device__ __forceinline__ void find_scores(const AttentionTask& task, const TileRange& tile,
                                            int index, const Chunk& chunk, const Shared& shared,
                                            Scores<kTiles>& scores) {
  const int first_position = index * kChunkPositions + 16 * warp_run();
#pragma unroll
  for (int t = 0; t < kTiles; ++t) {
#pragma unroll
    for (int n = 0; n < 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) scores[t][n][i] = 0;
    }
  }
  if (first_position > tile.last_position) return;
  if constexpr (Codec::kCoded) {
    const Scales scales = load_scales(warp_run(), chunk, false);
    multiply_keys<Codec, kTiles>(task, warp_run(), chunk, shared, scores);
    scale_scores<kTiles>(scales, scores);
  } else {
    multiply_keys<Codec, kTiles>(task, warp_run(), chunk, shared, scores);
  }
}

/// The weights that scores become, to shared memory; maximum and sum of each row.
template <class Codec, int kTiles, class Chunk>
__device__ __forceinline__ void soften_scores(const AttentionTask& task, const TileRange& tile,
                                              int index, const Chunk& chunk, const Shared& shared,
                                              Scores<kTiles>& scores, ChunkStats<kTiles>& stats) {
  const int lane = threadIdx.x % 32;
  const int first_position = index * kChunkPositions + 16 * warp_run();
  mask_scores<kTiles>(task, tile, first_position, scores);
  find_most<Codec, kTiles>(task, shared, scores, stats);
  exponentiate<Codec, kTiles>(task, shared, stats, scores);
  if constexpr (Codec::kCoded) {
    scale_weights<kTiles>(load_scales(warp_run(), chunk, true), shared, scores, stats);
  } else {
#pragma unroll
    for (int t = 0; t < kTiles; ++t) stats.weight_scale[t][0] = stats.weight_scale[t][1] = 1.0F;
  }
  store_weights<Codec, kTiles>(scores, shared.weights);
  __syncthreads();
#pragma unroll
  for (int t = 0; t < kTiles; ++t) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = t * 16 + half * 8 + lane / 4;
      float total = shared.totals[row];
#pragma unroll
      for (int w = 1; w < kAttentionWarps; ++w) total += shared.totals[w * kTiles * 16 + row];
      stats.total[t][half] = total;
    }
  }
}

}  // namespace iol::cuda
