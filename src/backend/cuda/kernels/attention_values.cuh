#pragma once
// Values added up under their weights, and chunks merged, for attention.cu.
#include "backend/cuda/kernels/attention_scores.cuh"

namespace iol::cuda {

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
        Merge factors =
            merge_factors(most[t][half], total[t][half], stats.most[t][half], stats.total[t][half]);
        factors.new_factor = __fmul_rn(factors.new_factor, stats.weight_scale[t][half]);
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

/// The chunk's values of the warp's units of D: warp, warp + 4, ...
template <class Codec, int kTiles, int kUnits, class Chunk>
struct ChunkValues {
  /// Runs that are fetched before their weights are known.
  static constexpr int kEarly = kTiles == 1 ? 8 / kUnits : 0;
  static constexpr int kAhead = kUnits <= 2 ? Chunk::kRunsAhead : 2;  // of the others
  using Run = typename Codec::Stored[kUnits];
  const Chunk& chunk;
  int units;  // of D
  int num_runs;
  int last;  // position of the tile, counted from the chunk's first
  Run early[kEarly > 0 ? kEarly : 1];

  __device__ __forceinline__ ChunkValues(const AttentionTask& task, const TileRange& tile,
                                         int index, const Chunk& the_chunk)
      : chunk(the_chunk),
        units(task.cache.head_dim / 16),
        last(tile.last_position - index * kChunkPositions) {
    num_runs = min(last / 16 + 1, kRunsOfChunk);
#pragma unroll
    for (int run = 0; run < kEarly; ++run)
      if (run < num_runs) load(run, early[run]);
  }

  /// out += weights x values
  __device__ __forceinline__ void add_to(const uint4* weights, Result<kTiles, kUnits>& out) const {
#pragma unroll
    for (int run = 0; run < kEarly; ++run)
      if (run < num_runs) add_run(run, early[run], weights, out);
    // Of tiles that fetch nothing early the last run apart: it alone may end within.
    const int num_whole = kEarly > 0 || Codec::kCoded ? num_runs : min((last + 1) / 16, num_runs);
#pragma unroll kAhead
    for (int run = kEarly; run < num_whole; ++run) {
      Run stored;
      load(run, stored);
      add_run<(kEarly > 0)>(run, stored, weights, out);
    }
    if (num_whole == num_runs) return;
    Run stored;
    load(num_whole, stored);
    add_run(num_whole, stored, weights, out);
  }

 private:
  static __device__ __forceinline__ int unit(int u) {
    return static_cast<int>(threadIdx.x) / 32 + u * kAttentionWarps;
  }
  __device__ __forceinline__ bool has(int u) const { return unit(u) < units; }
  __device__ __forceinline__ void load(int run, Run& stored) const {
    const std::byte* data = chunk.values(run);
#pragma unroll
    for (int u = 0; u < kUnits; ++u)
      if (has(u)) stored[u] = load_value<Codec>(data, unit(u));
  }
  template <bool kMayEnd = true>
  __device__ __forceinline__ void add_run(int run, const Run& stored, const uint4* weights,
                                          Result<kTiles, kUnits>& out) const {
    uint4 values[kUnits];
#pragma unroll
    for (int u = 0; u < kUnits; ++u) {
      if (!has(u)) continue;
      values[u] = Codec::operand(stored[u]);
      if (!Codec::kCoded && kMayEnd && last - 16 * run < 15)
        clear_behind(values[u], last - 16 * run);
    }
#pragma unroll
    for (int t = 0; t < kTiles; ++t) {
      const uint4 weight = weights[(t * kRunsOfChunk + run) * 32 + threadIdx.x % 32];
#pragma unroll
      for (int u = 0; u < kUnits; ++u) {
        if (!has(u)) continue;
        Codec::mma(out.sums[t][u][0], weight, values[u].x, values[u].y);
        Codec::mma(out.sums[t][u][1], weight, values[u].z, values[u].w);
      }
    }
  }
};

// --- results

/// Where a row of the tile goes: element d to column d of `head`'s part of a row of `out`.
struct OutRow {
  std::int64_t base;  // of the token's row
  int first_column;   // of the head
};
__device__ __forceinline__ OutRow out_row(const AttentionTask& task, const TileRange& tile,
                                          int row) {
  const int group = group_of(task);
  const int at = tile.first_row + row;
  const int head = tile.kv_head * group + at % group;
  return {static_cast<std::int64_t>(tile.slice_token + at / group) * task.out_stride,
          head * task.cache.head_dim};
}

/// Two neighbours of a row from `out` on.
template <Element kElement>
__device__ __forceinline__ void store_pair(std::byte* out, float first, float second) {
  if constexpr (kElement == Element::kF32) {
    *reinterpret_cast<float2*>(out) = make_float2(first, second);
  } else {
    *reinterpret_cast<std::uint32_t*>(out) =
        kElement == Element::kBf16 ? to_bf16_pair(first, second) : to_f16_pair(first, second);
  }
}
/// Elements d and d + 1 of a row, d even: no form of a row parts them.
__device__ __forceinline__ void store_two(const AttentionTask& task, const OutRow& row, int d,
                                          float first, float second) {
  const int bytes = element_bytes(task.out_element);
  const std::int64_t at = row.base + dealt_column(row.first_column + d, bytes, task.out_run);
  std::byte* out = static_cast<std::byte*>(task.out) + at * bytes;
  if (task.out_element == Element::kF32) {
    store_pair<Element::kF32>(out, first, second);
  } else if (task.out_element == Element::kBf16) {
    store_pair<Element::kBf16>(out, first, second);
  } else {
    store_pair<Element::kF16>(out, first, second);
  }
}

/// Calls visit(element of D, sum of it, sum of the next) for all pairs that a lane holds of row
/// 16 t + 8 half + lane / 4.
template <int kTiles, int kUnits, class Visit>
__device__ __forceinline__ void for_each_pair_of_row(const Result<kTiles, kUnits>& result,
                                                     int head_dim, int t, int half, Visit visit) {
#pragma unroll
  for (int u = 0; u < kUnits; ++u) {
    const int unit = static_cast<int>(threadIdx.x) / 32 + u * kAttentionWarps;
    if (unit >= head_dim / 16) continue;
#pragma unroll
    for (int i = 0; i < 2; ++i)
      visit(unit * 16 + i * 8 + static_cast<int>(threadIdx.x) % 4 * 2,
            result.sums[t][u][i][half * 2], result.sums[t][u][i][half * 2 + 1]);
  }
}

template <int kTiles, int kUnits>
__device__ __forceinline__ void store_result(const AttentionTask& task, const TileRange& tile,
                                             const Result<kTiles, kUnits>& result) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int t = 0; t < kTiles; ++t) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = t * 16 + half * 8 + lane / 4;
      if (row >= tile.num_rows) continue;
      const OutRow out = out_row(task, tile, row);
      const Quotient by_total(result.total[t][half]);
      for_each_pair_of_row(result, task.cache.head_dim, t, half,
                           [&](int d, float first, float second) {
                             store_two(task, out, d, by_total(first), by_total(second));
                           });
    }
  }
}

__device__ __forceinline__ std::int64_t partial_row(const AttentionTask& task, int chunk, int row) {
  const std::int64_t tile =
      static_cast<std::int64_t>(blockIdx.x) * task.cache.num_kv_heads + blockIdx.y;
  return (tile * task.max_chunks + chunk) * kDecodeTileRows + row;
}

template <int kUnits>
__device__ __forceinline__ void store_partial(const AttentionTask& task, int chunk,
                                              const Result<1, kUnits>& result) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const std::int64_t at = partial_row(task, chunk, half * 8 + lane / 4);
    for_each_pair_of_row(result, task.cache.head_dim, 0, half,
                         [&](int d, float first, float second) {
                           float* sums = task.partial_sums + at * task.cache.head_dim + d;
                           sums[0] = first;
                           sums[1] = second;
                           if (d == 0) {
                             task.partial_stats[at * 2] = result.most[0][half];
                             task.partial_stats[at * 2 + 1] = result.total[0][half];
                           }
                         });
  }
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
#pragma unroll 1
  for (int i = 2 * threadIdx.x; i < tile.num_rows * dim; i += 2 * kAttentionThreads) {
    const int row = i / dim;
    float most = -CUDART_INF_F;
    float total = 0;
    float2 sum = {};
    for (int chunk = 0; chunk < num_chunks; ++chunk) {
      const std::int64_t at = partial_row(task, chunk, row);
      const Merge factors = merge_factors(most, total, __ldcg(task.partial_stats + at * 2),
                                          __ldcg(task.partial_stats + at * 2 + 1));
      const float2 part =
          __ldcg(reinterpret_cast<const float2*>(task.partial_sums + at * dim + i % dim));
      sum = {merged(factors, sum.x, part.x), merged(factors, sum.y, part.y)};
    }
    const Quotient by_total(total);
    store_two(task, out_row(task, tile, row), i % dim, by_total(sum.x), by_total(sum.y));
  }
}

}  // namespace iol::cuda
