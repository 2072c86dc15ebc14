#pragma once
// A tile of rows for attention.cu and attention_prompts.cu, its queries, and where the cache holds
// a chunk.
#include "backend/cuda/kernels/attention_numbers.cuh"

namespace iol::cuda {

template <class Codec>
__device__ __forceinline__ int run_bytes(const CacheView& cache) {
  return cache.head_dim / 16 * 32 * static_cast<int>(sizeof(typename Codec::Stored));
}

// --- the tile

struct TileRange {
  int kv_head;
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

/// `num_rows` rows, at most, of the slice of a tile of the task, from the tile's row `row` on.
__device__ __forceinline__ TileRange tile_range(const AttentionTask& task, int index, int kv_head,
                                                int row, int num_rows) {
  const AttentionTile entry = task.tiles[index];
  const Slice slice = task.slices[entry.slice];
  const int group = group_of(task);
  TileRange tile;
  tile.kv_head = kv_head;
  tile.slice_token = slice.first_token;
  tile.first_position = slice.first_position;
  tile.first_row = entry.first_row + row;
  tile.num_rows = min(slice.num_tokens * group - tile.first_row, num_rows);
  tile.last_position = slice.first_position + (tile.first_row + tile.num_rows - 1) / group;
  const int first_position = slice.first_position + tile.first_row / group;
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
      block * cache.block_bytes + static_cast<std::int64_t>(tile.kv_head) * cache.head_bytes;
  places.offset[threadIdx.x] = position % cache.block_size;
}

/// The 16 keys or values of a run of the chunk.
template <class Codec>
__device__ __forceinline__ const std::byte* run_data(const CacheView& cache, const Places& places,
                                                     int run, bool of_values) {
  const int bytes = run_bytes<Codec>(cache);
  return cache.data + places.head[run] +
         static_cast<std::int64_t>(places.offset[run] / 16 +
                                   (of_values ? cache.block_size / 16 : 0)) *
             bytes;
}

/// A chunk as it lies in the cache.
template <class Codec>
struct CachedChunk {
  static constexpr int kUnitsAhead = 4;  // of keys, on their way at once
  static constexpr int kRunsAhead = 8;   // of values, where a warp has up to two units of D
  const CacheView& cache;
  const Places& places;

  [[nodiscard]] __device__ __forceinline__ const std::byte* keys(int run) const {
    return run_data<Codec>(cache, places, run, false);
  }
  [[nodiscard]] __device__ __forceinline__ const std::byte* values(int run) const {
    return run_data<Codec>(cache, places, run, true);
  }
  /// Of the run's 16 positions; of codes.
  [[nodiscard]] __device__ __forceinline__ const float* scales(int run, bool of_values) const {
    const std::byte* head = cache.data + places.head[run];
    return reinterpret_cast<const float*>(head + 2 * cache.block_size * cache.head_dim) +
           (of_values ? cache.block_size : 0) + places.offset[run];
  }
};

/// Brings the chunk's keys and values into the L2 cache. They may be asked for before the kernels
/// in front of this one are over: what those write is read afterwards, and correctly.
template <class Codec>
__device__ __forceinline__ void prefetch_chunk(const AttentionTask& task, const TileRange& tile,
                                               int chunk, const Places& places) {
#if __CUDA_ARCH__ >= 900
  const int run = static_cast<int>(threadIdx.x) / 2;
  if (run >= kRunsOfChunk || chunk * kChunkPositions + 16 * run > tile.last_position) return;
  asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(
                   run_data<Codec>(task.cache, places, run, threadIdx.x % 2 != 0)),
               "r"(run_bytes<Codec>(task.cache)));
#endif
}

/// queries and weights: operand A in units of 16 rows x 16 columns, [tile][unit][lane] of 16 bytes.
struct Shared {
  uint4* queries;  // D / 16 units
  uint4* weights;  // 16 units
  float* most;     // [warps][rows]
  float* totals;   // [warps][rows]
  // Of codes:
  float* factors;           // [rows] of scores: to units of log2, and the query's scale
  std::uint32_t* weighted;  // [warps][rows] largest weight times its value's scale
};

template <int kTiles>
__device__ __forceinline__ Shared carve(uint4* memory, int head_dim) {
  Shared shared;
  shared.queries = memory;
  shared.weights = shared.queries + kTiles * (head_dim / 16) * 32;
  shared.most = reinterpret_cast<float*>(shared.weights + kTiles * 16 * 32);
  shared.totals = shared.most + kAttentionWarps * kTiles * 16;
  shared.factors = shared.totals + kAttentionWarps * kTiles * 16;
  shared.weighted = reinterpret_cast<std::uint32_t*>(shared.factors + kTiles * 16);
  return shared;
}
IOL_HOST_DEVICE constexpr int shared_memory_bytes(int tiles, int head_dim) {
  return tiles * (head_dim / 16 + 16) * 512 + (3 * kAttentionWarps + 1) * tiles * 16 * 4;
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
                                             const Shared& shared) {
  constexpr int kRows = kTiles * 16 / kAttentionWarps;  // of a warp
  const int dim = task.cache.head_dim;
  const int group = group_of(task);
  const int warp = static_cast<int>(threadIdx.x) / 32;
  auto* pairs = reinterpret_cast<std::uint32_t*>(shared.queries);
  const uint2* queries[kRows];
  const bool is_scaled = task.query_scales != nullptr && threadIdx.x % 32 == 0;
  int token = (tile.first_row + warp) / group;       // of the slice
  int head = tile.first_row + warp - token * group;  // of the group
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    const std::int64_t row = static_cast<std::int64_t>(tile.slice_token + token) * task.num_heads +
                             tile.kv_head * group + head;
    queries[i] = static_cast<const uint2*>(task.queries) + row * (dim / 4);
    const int tile_row = warp + i * kAttentionWarps;
    if (is_scaled)
      shared.factors[tile_row] =
          tile_row < tile.num_rows ? __fmul_rn(task.scale * kLog2E, task.query_scales[row]) : 0.0F;
    head += kAttentionWarps % group;
    token += kAttentionWarps / group + (head >= group ? 1 : 0);
    head -= head >= group ? group : 0;
  }
  for (int four = threadIdx.x % 32; four < dim / 4; four += 32) {
    uint2 loaded[kRows];  // all at once: the loads are what takes time
#pragma unroll
    for (int i = 0; i < kRows; ++i)
      loaded[i] = warp + i * kAttentionWarps < tile.num_rows ? queries[i][four] : make_uint2(0, 0);
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const int at = operand_index(dim / 16, warp + i * kAttentionWarps, 4 * four) / 2;
      pairs[at] = loaded[i].x;
      pairs[at + 2] = loaded[i].y;
    }
  }
}

}  // namespace iol::cuda
