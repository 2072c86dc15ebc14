// Causal attention over the paged cache with tensor cores. A tile is 16 or 32 rows (a quarter of a
// prefill tile); a row is a (token, query head) pair of the query heads that share a key-value
// head. For each chunk of 256 positions that starts at a multiple of 256:
//
//   scores  warp w multiplies the rows with positions [64 w, 64 w + 64)
//   most    the chunk's largest score of each row, over all four warps
//   weights e^(score - most), rounded to the cache's operand, to shared memory; in decode the
//           first values are fetched meanwhile
//   values  warp w adds up elements [16 w, 16 w + 16), + 64, ... of D over the chunk's positions
//
// and the chunks' results (most, total, sums) are merged in ascending order. A chunk's arithmetic
// is the same in every tile, so a row's result depends on its own position alone. In decode each
// chunk has a block of threads to itself and the last one to arrive merges; in prefill a block
// walks over all chunks of its tile.
//
// Slices of one tile (most decodes) take attention_decode.cu instead, where it has the heads' size,
// and prefill tiles attention_prompts.cu, where there is wgmma.
//
// int8 and fp8: codes become f16, which holds them exactly (attention_numbers.cuh); a position's
// key scale multiplies its score, its value scale its weight.
#include "backend/cuda/kernels/attention_values.cuh"

namespace iol::cuda {
namespace {

template <class Codec, int kTiles, int kUnits>
__global__ void __launch_bounds__(kAttentionThreads, kTiles* kUnits == 1 ? 4 : 3)
    attention_kernel(AttentionTask task) {
  extern __shared__ uint4 shared_memory[];
  let_next_start();
  // The step's input, which no kernel writes.
  constexpr int kParts = kTiles == 1 ? 1 : kPrefillTileRows / (kTiles * 16);  // of a tile
  const int part = static_cast<int>(blockIdx.x) % kParts;
  const TileRange tile = tile_range(task, static_cast<int>(blockIdx.x) / kParts,
                                    static_cast<int>(blockIdx.y), part * kTiles * 16, kTiles * 16);
  const int first_chunk = tile.first_chunk + static_cast<int>(blockIdx.z);
  if (tile.num_rows <= 0 || first_chunk > tile.last_chunk) return;
  const int last_chunk = task.split ? first_chunk : tile.last_chunk;
  const Shared shared = carve<kTiles>(shared_memory, task.cache.head_dim);
  __shared__ Places places;
  const CachedChunk<Codec> cached{task.cache, places};
  find_places(task, tile, first_chunk, places);
  __syncthreads();
  prefetch_chunk<Codec>(task, tile, first_chunk, places);
  wait_for_previous();
  load_queries<kTiles>(task, tile, shared);
  __syncthreads();
  Result<kTiles, kUnits> result;
  for (int chunk = first_chunk; chunk <= last_chunk; ++chunk) {
    Scores<kTiles> scores;
    find_scores<Codec, kTiles>(task, tile, chunk, cached, shared, scores);
    const ChunkValues<Codec, kTiles, kUnits, CachedChunk<Codec>> values(task, tile, chunk, cached);
    ChunkStats<kTiles> stats;
    soften_scores<Codec, kTiles>(task, tile, chunk, cached, shared, scores, stats);
    Result<kTiles, kUnits> part;
    values.add_to(shared.weights, part);
    result.merge(part, stats);
    __syncthreads();  // weights, maxima and places are free again
    if (chunk < last_chunk) {
      find_places(task, tile, chunk + 1, places);
      __syncthreads();
    }
  }
  if constexpr (kTiles == 1) {
    if (task.split && tile.first_chunk != tile.last_chunk) {
      store_partial(task, first_chunk - tile.first_chunk, result);
      merge_when_last(task, tile);
      return;
    }
  }
  store_result(task, tile, result);
}

template <class Codec, int kTiles, int kUnits>
void launch(const AttentionTask& task, StreamHandle stream) {
  const int shared_bytes = shared_memory_bytes(kTiles, task.cache.head_dim);
  const int parts = kTiles == 1 ? 1 : kPrefillTileRows / (kTiles * 16);
  const dim3 grid(task.num_tiles * parts, task.cache.num_kv_heads,
                  task.split ? task.max_chunks : 1);
  launch_kernel(attention_kernel<Codec, kTiles, kUnits>, grid, kAttentionThreads, shared_bytes,
                stream, task);
}

template <class Codec>
void launch(const AttentionTask& task, StreamHandle stream) {
  // Of D <= 256 four units to a warp, of D <= 128 two, of D <= 64 one.
  if (task.tile_rows == kPrefillTileRows) {
    launch<Codec, 2, 2>(task, stream);
  } else if (task.cache.head_dim <= 64) {
    launch<Codec, 1, 1>(task, stream);
  } else if (task.cache.head_dim <= kMostPrefillHeadDim) {
    launch<Codec, 1, 2>(task, stream);
  } else {
    launch<Codec, 1, 4>(task, stream);
  }
}

}  // namespace

void attention(const AttentionTask& task, StreamHandle stream) {
  if (task.num_tiles == 0) return;
  if (task.tile_rows == kPrefillTileRows && attention_takes_prompts(task.cache))
    return attention_prompts(task, stream);
  with_codec(task.cache.element, [&]<class Codec>(const Codec&) { launch<Codec>(task, stream); });
}

}  // namespace iol::cuda
