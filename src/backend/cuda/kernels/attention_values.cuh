#pragma once
// Values added up under their weights, and chunks merged, for attention.cu.
#include "backend/cuda/kernels/attention_scores.cuh"

namespace iol::cuda {

/// Merges (most, total, sum) of a chunk into what was gathered before it.
struct Merge {
  float old_factor;
  float new_factor;
};
__device__ __forceinline__ Merge merge_factors(float& most, float& total, float part_most,
                                               float part_total) {
  if (part_most == -CUDART_INF_F) return {1.0F, 0.0F};
  const float larger = fmaxf(most, part_most);
  const Merge merge = {most == -CUDART_INF_F ? 0.0F : power_of_two(most - larger),
                       power_of_two(part_most - larger)};
  total = __fmaf_rn(total, merge.old_factor, __fmul_rn(part_total, merge.new_factor));
  most = larger;
  return merge;
}
__device__ __forceinline__ float merged(const Merge& merge, float sum, float part) {
  return __fmaf_rn(sum, merge.old_factor, __fmul_rn(part, merge.new_factor));
}

/// Weighted values of a lane: for each of the warp's units two columns-of-eight tiles.
template <int kTiles, int kUnits>
struct Result {
  float sums[kTiles][kUnits][2][4] = {};
  float most[kTiles][2];
  float total[kTiles][2];

  __device__ __forceinline__ Result() {
#pragma unroll
    for (int t = 0; t < kTiles; ++t) {
      most[t][0] = most[t][1] = -CUDART_INF_F;
      total[t][0] = total[t][1] = 0.0F;
    }
  }
  __device__ __forceinline__ void merge(const Result& part, const ChunkStats<kTiles>& stats) {
#pragma unroll
    for (int t = 0; t < kTiles; ++t) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const Merge factors =
            merge_factors(most[t][half], total[t][half], stats.most[t][half], stats.total[t][half]);
#pragma unroll
        for (int u = 0; u < kUnits; ++u) {
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            float& sum = sums[t][u][i / 2][half * 2 + i % 2];
            sum = merged(factors, sum, part.sums[t][u][i / 2][half * 2 + i % 2]);
          }
        }
      }
    }
  }
};

/// Values behind the last position are whatever was there: zero times NaN would be NaN.
__device__ __forceinline__ void clear_behind(uint4& values, int last) {
  const int first = threadIdx.x % 4 * 4;
  const std::uint32_t low = (first <= last ? 0xffffU : 0U) | (first + 1 <= last ? 0xffff0000U : 0U);
  const std::uint32_t high =
      (first + 2 <= last ? 0xffffU : 0U) | (first + 3 <= last ? 0xffff0000U : 0U);
  values.x &= low;
  values.y &= high;
  values.z &= low;
  values.w &= high;
}

template <class Codec, int kTiles, int kUnits>
__device__ __forceinline__ void add_values(const AttentionTask& task, const TileRange& tile,
                                           int chunk, const Shared& shared,
                                           Result<kTiles, kUnits>& out) {
  const CacheView& cache = task.cache;
  const int lane = threadIdx.x % 32;
  const int warp = threadIdx.x / 32;
  const int units = cache.head_dim / 16;
  const int first_position = chunk * kChunkPositions;
  const int num_runs = min((tile.last_position - first_position) / 16 + 1, kChunkPositions / 16);
  const std::int64_t plane =
      static_cast<std::int64_t>(cache.block_size) * cache.head_dim * Codec::kLaneBytes / 8;
  constexpr int kAhead = kUnits <= 2 ? 8 : 2;  // runs whose values are on their way
#pragma unroll kAhead
  for (int run = 0; run < num_runs; ++run) {
    const std::byte* base =
        cache.data + shared.places->head[run] + plane +
        (shared.places->offset[run] / 16 * units * 32 + lane) * Codec::kLaneBytes;
    const int last = tile.last_position - (first_position + 16 * run);
    uint4 values[kUnits];
#pragma unroll
    for (int u = 0; u < kUnits; ++u) {
      const int unit = warp + u * kAttentionWarps;
      if (unit < units) {
        values[u] = Codec::load(base + unit * 32 * Codec::kLaneBytes);
        if (last < 15) clear_behind(values[u], last);
      }
    }
#pragma unroll
    for (int t = 0; t < kTiles; ++t) {
      const uint4 weights = shared.weights[(t * 16 + run) * 32 + lane];
#pragma unroll
      for (int u = 0; u < kUnits; ++u) {
        if (warp + u * kAttentionWarps < units) {
          Codec::mma(out.sums[t][u][0], weights, values[u].x, values[u].y);
          Codec::mma(out.sums[t][u][1], weights, values[u].z, values[u].w);
        }
      }
    }
  }
}

// --- results

__device__ __forceinline__ void store_row(const AttentionTask& task, const TileRange& tile, int row,
                                          int d, float value) {
  const int group = group_of(task);
  const int at = tile.first_row + row;
  const std::int64_t token = tile.slice_token + at / group;
  const int head = static_cast<int>(blockIdx.y) * group + at % group;
  const int column =
      dealt_column(head * task.cache.head_dim + d, element_bytes(task.out_element), task.out_run);
  store_element(task.out, task.out_element, token * task.out_stride + column, value);
}

/// Calls visit(row of the tile, element of D, sum, most, total) for everything a lane holds.
template <int kTiles, int kUnits, class Visit>
__device__ __forceinline__ void for_each_sum(const Result<kTiles, kUnits>& result, int head_dim,
                                             Visit visit) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int t = 0; t < kTiles; ++t) {
#pragma unroll
    for (int u = 0; u < kUnits; ++u) {
      const int unit = threadIdx.x / 32 + u * kAttentionWarps;
      if (unit >= head_dim / 16) continue;
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        const int half = i % 4 / 2;
        visit(t * 16 + half * 8 + lane / 4, unit * 16 + i / 4 * 8 + lane % 4 * 2 + i % 2,
              result.sums[t][u][i / 4][i % 4], result.most[t][half], result.total[t][half]);
      }
    }
  }
}

template <int kTiles, int kUnits>
__device__ __forceinline__ void store_result(const AttentionTask& task, const TileRange& tile,
                                             const Result<kTiles, kUnits>& result) {
  for_each_sum(result, task.cache.head_dim, [&](int row, int d, float sum, float, float total) {
    if (row < tile.num_rows) store_row(task, tile, row, d, __fdiv_rn(sum, total));
  });
}

__device__ __forceinline__ std::int64_t partial_row(const AttentionTask& task, int chunk, int row) {
  const std::int64_t tile =
      static_cast<std::int64_t>(blockIdx.x) * task.cache.num_kv_heads + blockIdx.y;
  return (tile * task.max_chunks + chunk) * kDecodeTileRows + row;
}

template <int kUnits>
__device__ __forceinline__ void store_partial(const AttentionTask& task, int chunk,
                                              const Result<1, kUnits>& result) {
  for_each_sum(result, task.cache.head_dim,
               [&](int row, int d, float sum, float most, float total) {
                 const std::int64_t at = partial_row(task, chunk, row);
                 task.partial_sums[at * task.cache.head_dim + d] = sum;
                 if (d == 0) {
                   task.partial_stats[at * 2] = most;
                   task.partial_stats[at * 2 + 1] = total;
                 }
               });
}

/// The last block of threads of a tile to get here merges the chunks in ascending order.
__device__ __forceinline__ void merge_when_last(const AttentionTask& task, const TileRange& tile) {
  __shared__ bool is_last;
  const int num_chunks = tile.last_chunk - tile.first_chunk + 1;
  __threadfence();
  __syncthreads();
  int* arrivals = task.arrivals + blockIdx.x * task.cache.num_kv_heads + blockIdx.y;
  if (threadIdx.x == 0) {
    is_last = atomicAdd(arrivals, 1) == num_chunks - 1;
    if (is_last) *arrivals = 0;
  }
  __syncthreads();
  if (!is_last) return;
  __threadfence();
  const int dim = task.cache.head_dim;
  for (int i = threadIdx.x; i < tile.num_rows * dim; i += kAttentionThreads) {
    const int row = i / dim;
    float most = -CUDART_INF_F;
    float total = 0;
    float sum = 0;
    for (int chunk = 0; chunk < num_chunks; ++chunk) {
      const std::int64_t at = partial_row(task, chunk, row);
      const Merge factors = merge_factors(most, total, __ldcg(task.partial_stats + at * 2),
                                          __ldcg(task.partial_stats + at * 2 + 1));
      sum = merged(factors, sum, __ldcg(task.partial_sums + at * dim + i % dim));
    }
    store_row(task, tile, row, i % dim, __fdiv_rn(sum, total));
  }
}

}  // namespace iol::cuda
