// Attention of prompts by the rules of attention.cu, so with its bits. A block of threads takes 96
// rows of a slice: three groups of 128 threads, each with 32 of them. They see the same keys and
// values, which asynchronous copies bring to shared memory a chunk at a time, as the cache holds
// them:
//
//   keys     of the next chunk, while this one's weights are made and its values added up
//   values   of the next chunk, while its scores are computed
//
// so that nobody waits for a read of his own; scales of codes come with the keys, in two places in
// turn, since those of values are needed before the values.
#include <cuda_runtime_api.h>

#include "backend/cuda/kernels/async_copy.cuh"
#include "backend/cuda/kernels/attention_values.cuh"

namespace iol::cuda {
namespace {

constexpr int kTiles = 2;  // of 16 rows, to a group
constexpr int kGroupRows = kTiles * 16;
constexpr int kGroups = kPrefillTileRows / kGroupRows;
constexpr int kThreads = kGroups * kAttentionThreads;

using ChunkScales = float[2][kChunkPositions];  // of keys, of values

/// A chunk in shared memory.
template <class Codec, int kHeadDim>
struct StagedChunk {
  static constexpr int kDim = kHeadDim;
  static constexpr int kUnitsAhead = 2;
  static constexpr int kRunsAhead = 2;
  const std::byte* first_key;
  const std::byte* first_value;
  const ChunkScales& chunk_scales;
  int run_size;  // bytes

  [[nodiscard]] __device__ __forceinline__ const std::byte* keys(int run) const {
    return first_key + run * run_size;
  }
  [[nodiscard]] __device__ __forceinline__ const std::byte* values(int run) const {
    return first_value + run * run_size;
  }
  [[nodiscard]] __device__ __forceinline__ const float* scales(int run, bool of_values) const {
    return chunk_scales[of_values] + 16 * run;
  }
};

/// Begins to copy keys or values of the runs that a tile sees of a chunk.
template <class Codec>
__device__ __forceinline__ void copy_runs(const CachedChunk<Codec>& cached, int num_runs,
                                          bool of_values, std::byte* out) {
  const int pieces = run_bytes<Codec>(cached.cache) / 16;  // 16 bytes each
  const int warp = static_cast<int>(threadIdx.y) * kAttentionWarps + threadIdx.x / 32;
  for (int run = warp; run < num_runs; run += kThreads / 32) {
    const std::byte* from = of_values ? cached.values(run) : cached.keys(run);
    std::byte* to = out + run * pieces * 16;
    for (int piece = threadIdx.x % 32; piece < pieces; piece += 32)
      copy_of_run(to + piece * 16, from + piece * 16);
  }
}
template <class Codec>
__device__ __forceinline__ void copy_scales(const CachedChunk<Codec>& cached, int num_runs,
                                            ChunkScales& out) {
  constexpr int kPieces = 4;  // of the 16 scales of a run
  const int thread = static_cast<int>(threadIdx.y) * kAttentionThreads + threadIdx.x;
  const int run = thread / kPieces % kRunsOfChunk;
  const bool of_values = thread >= kPieces * kRunsOfChunk;
  if (thread >= 2 * kPieces * kRunsOfChunk || run >= num_runs) return;
  const int at = thread % kPieces * 4;
  copy_async(out[of_values] + 16 * run + at, cached.scales(run, of_values) + at);
}

/// kDim: D, or 0: any up to 128.
template <class Codec, int kDim>
__global__ void __launch_bounds__(kThreads, 1)
    prompts_kernel(const __grid_constant__ AttentionTask task) {
#if __CUDA_ARCH__ >= 900
  using Staged = StagedChunk<Codec, kDim>;
  constexpr int kUnits = kDim == 64 ? 1 : 2;  // of D, to a warp
  extern __shared__ uint4 shared_memory[];
  __shared__ Places places[2];
  __shared__ __align__(16) ChunkScales scales[Codec::kCoded ? 2 : 1];
  let_next_start();
  // The step's input, which no kernel writes.
  const TileRange block = tile_range(task, static_cast<int>(blockIdx.x), 0, kPrefillTileRows);
  const TileRange tile = tile_range(task, static_cast<int>(blockIdx.x),
                                    static_cast<int>(threadIdx.y) * kGroupRows, kGroupRows);
  const int dim = task.cache.head_dim;
  const int run_size = run_bytes<Codec>(task.cache);
  auto* keys = reinterpret_cast<std::byte*>(shared_memory);
  std::byte* values = keys + kRunsOfChunk * run_size;
  const Shared shared = carve<kTiles>(
      shared_memory + (2 * kRunsOfChunk * run_size +
                       static_cast<int>(threadIdx.y) * shared_memory_bytes(kTiles, dim)) /
                          16,
      dim);
  const auto place = [&](int chunk) {
    if (threadIdx.y == 0) find_places(task, block, chunk, places[chunk % 2]);
  };
  const auto runs_of = [&](int chunk) {
    return min((block.last_position - chunk * kChunkPositions) / 16 + 1, kRunsOfChunk);
  };
  const auto ask_for_keys = [&](int chunk) {
    const CachedChunk<Codec> cached{task.cache, places[chunk % 2]};
    copy_runs(cached, runs_of(chunk), false, keys);
    if constexpr (Codec::kCoded) copy_scales(cached, runs_of(chunk), scales[chunk % 2]);
  };
  const auto ask_for_values = [&](int chunk) {
    copy_runs(CachedChunk<Codec>{task.cache, places[chunk % 2]}, runs_of(chunk), true, values);
  };
  place(block.first_chunk);
  __syncthreads();
  wait_for_previous();
  ask_for_keys(block.first_chunk);
  commit_copies();
  ask_for_values(block.first_chunk);
  commit_copies();
  if (tile.num_rows > 0) load_queries<kTiles>(task, tile, shared);
  Result<kTiles, kUnits> result;
  for (int chunk = block.first_chunk; chunk <= block.last_chunk; ++chunk) {
    const bool goes_on = chunk < block.last_chunk;
    const bool is_seen = tile.num_rows > 0 && chunk >= tile.first_chunk && chunk <= tile.last_chunk;
    const Staged staged{keys, values, scales[Codec::kCoded ? chunk % 2 : 0], run_size};
    Scores<kTiles> scores;
    ChunkStats<kTiles> stats;
    if (goes_on) place(chunk + 1);
    wait_for_copies<1>();  // all but values
    __syncthreads();
    if (is_seen) find_scores<Codec, kTiles>(task, tile, chunk, staged, shared, scores);
    __syncthreads();  // keys have been read
    if (goes_on) ask_for_keys(chunk + 1);
    commit_copies();
    if (is_seen) {
      soften_scores<Codec, kTiles>(task, tile, chunk, staged, shared, scores, stats);
    } else {
      pass_softening<Codec, kTiles>();
    }
    wait_for_copies<1>();  // all but the next keys
    __syncthreads();
    if (is_seen) {
      Result<kTiles, kUnits> part;
      ChunkValues<Codec, kTiles, kUnits, Staged>(task, tile, chunk, staged)
          .add_to(shared.weights, part);
      result.merge(part, stats);
    }
    __syncthreads();  // values and weights have been read
    if (goes_on) ask_for_values(chunk + 1);
    commit_copies();
  }
  if (tile.num_rows > 0) store_result(task, tile, result);
#endif
}

template <class Codec>
int shared_bytes_of(const CacheView& cache) {
  const int stored = static_cast<int>(sizeof(typename Codec::Stored));
  const int run_size = cache.head_dim / 16 * 32 * stored;
  return 2 * kRunsOfChunk * run_size + kGroups * shared_memory_bytes(kTiles, cache.head_dim);
}
/// Beside it, static shared memory.
constexpr int kStaticBytes = 2 * sizeof(Places) + 2 * sizeof(ChunkScales) + 64;

template <class Codec>
void launch(const AttentionTask& task, StreamHandle stream) {
  const int bytes = shared_bytes_of<Codec>(task.cache);
  auto* kernel = task.cache.head_dim == 128  ? prompts_kernel<Codec, 128>
                 : task.cache.head_dim == 64 ? prompts_kernel<Codec, 64>
                                             : prompts_kernel<Codec, 0>;
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
  launch_kernel(kernel, dim3(task.num_tiles, task.cache.num_kv_heads),
                dim3(kAttentionThreads, kGroups), bytes, stream, task);
}

}  // namespace

bool attention_stages(const CacheView& cache) {
  const int bytes = is_coded(cache.element) ? shared_bytes_of<Int8Codec>(cache)
                                            : shared_bytes_of<Bf16Codec>(cache);
  return takes_hopper_kernels() && cache.element != CacheElement::kF32 &&
         cache.head_dim <= kMostPrefillHeadDim &&
         bytes + kStaticBytes <= most_shared_bytes_of_block();
}

void attention_prompts(const AttentionTask& task, StreamHandle stream) {
  with_codec(task.cache.element, [&]<class Codec>(const Codec&) { launch<Codec>(task, stream); });
}

}  // namespace iol::cuda
