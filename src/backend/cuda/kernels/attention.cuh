#pragma once
// The steps of attention.cu.
#include <math_constants.h>

#include "backend/cuda/kernels/epilogue.cuh"
#include "backend/cuda/kernels/mma.cuh"

namespace iol::cuda {

inline constexpr int kAttentionWarps = 4;
inline constexpr int kAttentionThreads = 32 * kAttentionWarps;
inline constexpr int kWarpPositions = kChunkPositions / kAttentionWarps;
inline constexpr int kRunsOfChunk = kChunkPositions / 16;
inline constexpr float kLog2E = 1.44269504088896341F;

// --- how numbers of the cache become operands: eight numbers of a unit to a lane

struct HalfCodec {
  static constexpr bool kCoded = false;
  static constexpr int kLaneBytes = 16;
  static __device__ __forceinline__ uint4 load(const std::byte* p) {
    return *reinterpret_cast<const uint4*>(p);
  }
};
struct Bf16Codec : HalfCodec {
  static __device__ __forceinline__ std::uint32_t pack(float low, float high) {
    return to_bf16_pair(low, high);
  }
  static __device__ __forceinline__ void mma(float (&d)[4], const uint4& a, std::uint32_t b0,
                                             std::uint32_t b1) {
    mma_bf16(d, a.x, a.y, a.z, a.w, b0, b1);
  }
};
struct F16Codec : HalfCodec {
  static __device__ __forceinline__ std::uint32_t pack(float low, float high) {
    return to_f16_pair(low, high);
  }
  static __device__ __forceinline__ void mma(float (&d)[4], const uint4& a, std::uint32_t b0,
                                             std::uint32_t b1) {
    mma_f16(d, a.x, a.y, a.z, a.w, b0, b1);
  }
};
struct Int8Codec : Bf16Codec {
  static constexpr bool kCoded = true;
  static constexpr int kLaneBytes = 8;
  static __device__ __forceinline__ uint4 load(const std::byte* p) {
    const uint2 codes = *reinterpret_cast<const uint2*>(p);
    uint4 v;
    int8_to_bf16(codes.x, v.x, v.y);
    int8_to_bf16(codes.y, v.z, v.w);
    return v;
  }
};
struct Fp8Codec : Bf16Codec {
  static constexpr bool kCoded = true;
  static constexpr int kLaneBytes = 8;
  static __device__ __forceinline__ uint4 load(const std::byte* p) {
    const uint2 codes = *reinterpret_cast<const uint2*>(p);
    uint4 v;
    e4m3_to_bf16(codes.x, v.x, v.y);
    e4m3_to_bf16(codes.y, v.z, v.w);
    return v;
  }
};

// --- the tile

struct TileRange {
  int slice_token;     // first token of the slice in the step
  int first_position;  // of the slice
  int first_row;       // of the tile in the slice
  int num_rows;        // of the slice from first_row on, at most the tile's; 0: nothing to do
  int last_position;   // of the tile's last row
  int first_chunk;
  int last_chunk;
  const std::int32_t* table;
};

__device__ __forceinline__ int group_of(const AttentionTask& task) {
  return task.num_heads / task.cache.num_kv_heads;
}

__device__ __forceinline__ TileRange tile_range(const AttentionTask& task, int tile_rows) {
  const AttentionTile entry = task.tiles[blockIdx.x];
  const Slice slice = task.slices[entry.slice];
  const int group = group_of(task);
  TileRange tile;
  tile.slice_token = slice.first_token;
  tile.first_position = slice.first_position;
  tile.first_row = entry.first_row;
  tile.num_rows = min(slice.num_tokens * group - entry.first_row, tile_rows);
  tile.last_position = slice.first_position + (entry.first_row + tile.num_rows - 1) / group;
  const int first_position = slice.first_position + entry.first_row / group;
  const int seen = task.window > 0 ? max(first_position + 1 - task.window, 0) : 0;
  tile.first_chunk = seen / kChunkPositions;
  tile.last_chunk = tile.last_position / kChunkPositions;
  tile.table = task.tables + slice.first_entry;
  return tile;
}

/// Where the cache holds the 16 positions of each run of a chunk: bytes from its beginning to the
/// block of the head, and positions into it. Runs behind the tile's last position repeat its last
/// run; what they hold is masked.
struct Places {
  std::int64_t head[kRunsOfChunk];
  int offset[kRunsOfChunk];
};

__device__ __forceinline__ void find_places(const AttentionTask& task, const TileRange& tile,
                                            int chunk, Places& places) {
  if (threadIdx.x >= kRunsOfChunk) return;
  const CacheView& cache = task.cache;
  const int position = min(chunk * kChunkPositions + 16 * static_cast<int>(threadIdx.x),
                           tile.last_position / 16 * 16);
  const std::int64_t block = tile.table[position / cache.block_size];
  places.head[threadIdx.x] =
      block * cache.block_bytes + static_cast<std::int64_t>(blockIdx.y) * cache.head_bytes;
  places.offset[threadIdx.x] = position % cache.block_size;
}

/// queries and weights: operand A in units of 16 rows x 16 columns, [tile][unit][lane] of 16 bytes.
struct Shared {
  uint4* queries;  // D / 16 units
  uint4* weights;  // 16 units
  float* most;     // [warps][rows]
  float* totals;   // [warps][rows]
  Places* places;
};

template <int kTiles>
__device__ __forceinline__ Shared carve(uint4* memory, int head_dim) {
  Shared shared;
  shared.queries = memory;
  shared.weights = shared.queries + kTiles * (head_dim / 16) * 32;
  shared.most = reinterpret_cast<float*>(shared.weights + kTiles * 16 * 32);
  shared.totals = shared.most + kAttentionWarps * kTiles * 16;
  shared.places = reinterpret_cast<Places*>(shared.totals + kAttentionWarps * kTiles * 16);
  return shared;
}
inline int shared_memory_bytes(int tiles, int head_dim) {
  return tiles * (head_dim / 16 + 16) * 512 + 2 * kAttentionWarps * tiles * 16 * 4 +
         static_cast<int>(sizeof(Places));
}

/// The first number of operand element (row, column) of a tile's units, as an index of 16-bit
/// numbers; column + 1 follows it.
__device__ __forceinline__ int operand_index(int units, int row, int column) {
  const int lane = row % 8 * 4 + column % 16 / 4;
  return ((row / 16 * units + column / 16) * 32 + lane) * 8 +
         (column % 4 / 2 * 2 + row % 16 / 8) * 2 + column % 2;
}

template <int kTiles>
__device__ __forceinline__ void load_queries(const AttentionTask& task, const TileRange& tile,
                                             uint4* out) {
  const int dim = task.cache.head_dim;
  const int group = group_of(task);
  const auto* queries = static_cast<const std::uint32_t*>(task.queries);
  auto* pairs = reinterpret_cast<std::uint32_t*>(out);
  for (int i = threadIdx.x; i < kTiles * 16 * dim / 2; i += kAttentionThreads) {
    const int row = i / (dim / 2);
    const int pair = i % (dim / 2);
    const int at = tile.first_row + row;
    std::uint32_t value = 0;
    if (row < tile.num_rows) {
      const std::int64_t token = tile.slice_token + at / group;
      const int head = static_cast<int>(blockIdx.y) * group + at % group;
      value = queries[(token * task.num_heads + head) * (dim / 2) + pair];
    }
    pairs[operand_index(dim / 16, row, 2 * pair) / 2] = value;
  }
}

// --- scores and weights

/// Of the rows that a lane holds in an mma result: g and g + 8 of each tile.
template <int kTiles>
struct ChunkStats {
  float most[kTiles][2];  // in units of log2; minus infinity: nothing visible
  float total[kTiles][2];
};

template <class Codec, int kTiles>
__device__ __forceinline__ void multiply_keys(const AttentionTask& task, int first_run,
                                              const Shared& shared, float (&scores)[kTiles][8][4]) {
  const int lane = threadIdx.x % 32;
  const int units = task.cache.head_dim / 16;
  const std::byte* keys[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    keys[i] = task.cache.data + shared.places->head[first_run + i] +
              (shared.places->offset[first_run + i] / 16 * units * 32 + lane) * Codec::kLaneBytes;
  }
#pragma unroll 4
  for (int u = 0; u < units; ++u) {
    uint4 operand[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) operand[i] = Codec::load(keys[i] + u * 32 * Codec::kLaneBytes);
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

/// Scales the scores (to units of log2) and masks what a row doesn't see.
template <class Codec, int kTiles>
__device__ __forceinline__ void mask_scores(const AttentionTask& task, const TileRange& tile,
                                            int first_position, float (&scores)[kTiles][8][4]) {
  const int lane = threadIdx.x % 32;
  const int group = group_of(task);
  const float scale = task.scale * kLog2E;
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
          float& score = scores[t][n][half * 2 + c];
          score = position <= last && position >= first ? score * scale : -CUDART_INF_F;
        }
      }
    }
  }
}

/// Of a lane's positions: n-th pair of columns, c-th of it. Zero behind the tile's last position.
struct Scales {
  float v[8][2];
};
__device__ __forceinline__ Scales load_scales(const AttentionTask& task, const TileRange& tile,
                                              int first_position, int first_run,
                                              const Shared& shared, bool of_values) {
  const CacheView& cache = task.cache;
  const int lane = threadIdx.x % 32;
  Scales scales;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const std::byte* head = cache.data + shared.places->head[first_run + i];
    const auto* base =
        reinterpret_cast<const float*>(head + 2 * cache.block_size * cache.head_dim) +
        (of_values ? cache.block_size : 0) + shared.places->offset[first_run + i];
#pragma unroll
    for (int n = 0; n < 2; ++n) {
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        const int p = n * 8 + lane % 4 * 2 + c;
        scales.v[2 * i + n][c] = first_position + 16 * i + p <= tile.last_position ? base[p] : 0.0F;
      }
    }
  }
  return scales;
}

template <int kTiles>
__device__ __forceinline__ void multiply_scores(const Scales& scales,
                                                float (&scores)[kTiles][8][4]) {
#pragma unroll
  for (int t = 0; t < kTiles; ++t) {
#pragma unroll
    for (int n = 0; n < 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        float& score = scores[t][n][i];
        // What is masked stays masked, whatever scale it has.
        if (score != -CUDART_INF_F && score != 0.0F) score *= scales.v[n][i % 2];
      }
    }
  }
}

/// The lane's largest of each row, then over the four lanes that share it and over all warps.
template <int kTiles>
__device__ __forceinline__ void find_most(const float (&scores)[kTiles][8][4], float* shared,
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
      if (lane % 4 == 0) shared[warp * kTiles * 16 + t * 16 + half * 8 + lane / 4] = most;
    }
  }
  __syncthreads();
#pragma unroll
  for (int t = 0; t < kTiles; ++t) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = t * 16 + half * 8 + lane / 4;
      float most = shared[row];
#pragma unroll
      for (int w = 1; w < kAttentionWarps; ++w) most = fmaxf(most, shared[w * kTiles * 16 + row]);
      stats.most[t][half] = most;
    }
  }
}

__device__ __forceinline__ float power_of_two(float x) {
  float y;
  asm("ex2.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/// Weights 2^(score - most) in place; their sums to shared memory.
template <int kTiles>
__device__ __forceinline__ void exponentiate(float (&scores)[kTiles][8][4],
                                             const ChunkStats<kTiles>& stats, float* shared) {
  const int lane = threadIdx.x % 32;
  const int warp = threadIdx.x / 32;
#pragma unroll
  for (int t = 0; t < kTiles; ++t) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float most = stats.most[t][half] == -CUDART_INF_F ? 0.0F : stats.most[t][half];
      float total = 0;
#pragma unroll
      for (int n = 0; n < 8; ++n) {
#pragma unroll
        for (int c = 0; c < 2; ++c) {
          float& score = scores[t][n][half * 2 + c];
          score = power_of_two(score - most);
          total += score;
        }
      }
      total += __shfl_xor_sync(0xffffffffU, total, 1);
      total += __shfl_xor_sync(0xffffffffU, total, 2);
      if (lane % 4 == 0) shared[warp * kTiles * 16 + t * 16 + half * 8 + lane / 4] = total;
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

/// The chunk's weights to shared memory; maximum and sum of each row.
template <class Codec, int kTiles>
__device__ __forceinline__ void soften_scores(const AttentionTask& task, const TileRange& tile,
                                              int chunk, const Shared& shared,
                                              ChunkStats<kTiles>& stats) {
  const int lane = threadIdx.x % 32;
  const int first_position = chunk * kChunkPositions + threadIdx.x / 32 * kWarpPositions;
  const int first_run = static_cast<int>(threadIdx.x) / 32 * (kWarpPositions / 16);
  float scores[kTiles][8][4] = {};
  if (first_position <= tile.last_position)
    multiply_keys<Codec, kTiles>(task, first_run, shared, scores);
  if constexpr (Codec::kCoded) {
    if (first_position <= tile.last_position)
      multiply_scores<kTiles>(load_scales(task, tile, first_position, first_run, shared, false),
                              scores);
  }
  mask_scores<Codec, kTiles>(task, tile, first_position, scores);
  find_most<kTiles>(scores, shared.most, stats);
  exponentiate<kTiles>(scores, stats, shared.totals);
  if constexpr (Codec::kCoded) {
    if (first_position <= tile.last_position)
      multiply_scores<kTiles>(load_scales(task, tile, first_position, first_run, shared, true),
                              scores);
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

// --- values

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
  store_element(task.out, task.out_element,
                token * task.out_stride + head * task.cache.head_dim + d, value);
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
