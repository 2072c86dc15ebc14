// Attention of slices of few tokens (decodes with their drafts), in tiles of at most 16 rows, from
// the QKV projection to the output projection's rows: queries and keys are rotated, new keys and
// values appended, and
//
//   out = softmax(q K^T scale) V
//
// computed by attention.cu's rules (chunks, warps, order of sums), so with its bits. A block of 128
// threads walks over the chunks of a tile and a key-value head; where many are shared out
// (decode_shares.h) each of several blocks walks over its part, and the last to come merges or,
// where they are a cluster, the first.
//
// The kernel is short and bound by latency. So: keys and values of earlier steps are on their way
// to shared memory before the kernel in front is over (no kernel of this step writes them: whoever
// shares them with another sequence was given them in a later step than the one that wrote them),
// and new ones are put beside them; a tile of up to 8 rows has code that computes 8; what seldom
// happens lies apart.
#include <cuda_runtime_api.h>

#include <algorithm>

#include "backend/cuda/kernels/decode_heads.cuh"
#include "backend/cuda/kernels/decode_values.cuh"

namespace iol::cuda {
namespace {

/// What a block does when keys and values are on their way. A rehearsal stores no result; its only
/// chunk must have been asked for whole.
template <class Codec, int kDim, int kHalves>
__device__ __forceinline__ void perform(const DecodeArgs& args, const DecodeTile& tile,
                                        bool is_rehearsal, bool is_late, HeadLoads loads,
                                        DecodeShared<Codec, kDim>& shared, std::byte* keys,
                                        DecodeChunk<Codec, kDim>& copies) {
  using Chunk = DecodeChunk<Codec, kDim>;
  const int first = tile.first_chunk;
  const int warp = threadIdx.x / 32;
  std::byte* values = keys + args.values_offset;
  std::uint32_t* shared_queries = Codec::kCoded && args.queries_offset != 0
                                      ? reinterpret_cast<std::uint32_t*>(keys + args.queries_offset)
                                      : shared.weights;
  uint4 queries[Codec::kCoded ? 1 : Chunk::kUnits];
  DecodeResult<kDim, kHalves> result;
#pragma unroll
  for (int i = 0; i < kDim / 16 * 64 * kHalves / kAttentionThreads; ++i)
    shared_queries[threadIdx.x + i * kAttentionThreads] = 0;  // rows that the tile doesn't have
  finish_own_copies();
  __syncthreads();
  const DecodeItem<Codec, kDim> item(args, tile, 0);
  if (!is_late) {
    if (!is_rehearsal) wait_for_previous();
    loads = item.load(args);
  }
  take_heads<Codec, kDim, kHalves>(args, tile, is_rehearsal, item, loads, shared, shared_queries,
                                   keys);
  // Where the cache is copied from after something was appended.
  if (args.values_offset == 0 || first != tile.last_chunk) publish_to_copies();
  __syncthreads();
  if constexpr (!Codec::kCoded) {
#pragma unroll
    for (int u = 0; u < Chunk::kUnits; ++u) queries[u] = load_operand<kHalves>(shared_queries, u);
  }
#pragma unroll 1
  for (int chunk = first;;) {
    const int parity = (chunk - first) & 1;
    const int first_position = chunk * kChunkPositions + warp * kWarpPositions;  // of the warp
    DecodeScores scores = {};
    if (first_position <= tile.last_position) {
      finish_own_copies();
      __syncwarp();
      wait_for_copies(shared.keys_here + warp, parity);
      const std::byte* warp_keys = keys + warp * kRunsOfWarp * Chunk::kRunBytes;
      if constexpr (Codec::kCoded) {
#pragma unroll 4
        for (int u = 0; u < Chunk::kUnits; ++u)
          multiply_unit<Codec, kDim>(load_operand<kHalves>(shared_queries, u), warp_keys, u,
                                     scores);
        scale_scores<kHalves>(shared.scales[0] + warp * kWarpPositions, scores);
      } else {
#pragma unroll
        for (int u = 0; u < Chunk::kUnits; ++u)
          multiply_unit<Codec, kDim>(queries[u], warp_keys, u, scores);
      }
    }
    if (args.values_offset == 0) {
      __syncwarp();  // the warp's keys have been read
      copies.copy(args, true, values, shared);
    }
    mask_scores<kHalves>(args, tile, first_position, scores);
    DecodeStats<kHalves> part_stats;
    find_most<kHalves>(args, Codec::kCoded ? shared.query_scales : nullptr, scores, shared.most,
                       part_stats);
    exponentiate<kHalves>(part_stats, scores, shared.totals);
    if constexpr (Codec::kCoded)
      scale_weights<kHalves>(shared.scales[1] + warp * kWarpPositions, shared.weighted, scores,
                             part_stats);
    store_weights<Codec, kHalves>(scores, shared.weights);
    finish_own_copies();
    __syncthreads();
    find_totals(shared.totals, part_stats);
    DecodeSums<kDim> part;
    add_values<Codec, kDim, kHalves>(shared, values, tile.last_position - chunk * kChunkPositions,
                                     parity, part);
    merge_chunk<Codec>(part, part_stats, result.sums, result.stats);
    if (tile.is_shared() && !is_rehearsal) {
      const auto to = args.in_clusters ? Partial<kDim>::in_shared(keys)
                                       : Partial<kDim>::in_device(
                                             args, partial_entry(args, tile.zeroth_partial, chunk));
      store_partial(tile, to, result.sums, result.stats);
    }
    if (chunk == tile.last_chunk) break;
    if (tile.is_shared()) result = {};
    __syncthreads();  // weights, keys and values may be overwritten
    ++chunk;
    copies = Chunk(args, tile, chunk);
    copies.copy(args, false, keys, shared);
    if (args.values_offset != 0) copies.copy(args, true, values, shared);
  }
  if (!tile.is_shared()) store_result(args, tile, result.sums, result.stats, is_rehearsal);
}

/// Everything of a block but finding its tile. Where there is time it does all twice, the first
/// time with what lay there before, so that the second time its instructions are at hand.
template <class Codec, int kDim, int kHalves>
__device__ __forceinline__ void attend(const DecodeArgs& args, const DecodeTile& tile,
                                       DecodeShared<Codec, kDim>& shared, std::byte* keys) {
  // Blocks that find room when others have ended don't wait for the kernel in front, but for
  // memory.
  const bool is_late =
      static_cast<int>(blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z)) >=
      args.early_blocks;
  HeadLoads loads = {};
  if (is_late) {
    wait_for_previous();
    loads = DecodeItem<Codec, kDim>(args, tile, 0).load(args);
  }
  DecodeChunk<Codec, kDim> copies(args, tile, tile.first_chunk);
  if (args.values_offset != 0) {
    copies.copy_both(args, keys, shared);
  } else {
    copies.copy(args, false, keys, shared);
  }
  const bool has_one_chunk = tile.first_chunk == tile.last_chunk;
  int rehearsals = args.rehearses && args.values_offset != 0 && has_one_chunk ? 1 : 0;
#pragma unroll 1
  for (; rehearsals >= 0; --rehearsals) {
    perform<Codec, kDim, kHalves>(args, tile, rehearsals > 0, is_late, loads, shared, keys, copies);
    __syncthreads();
    loads = {};  // no register holds them meanwhile
  }
}

/// Blocks of a cluster, on every card that has them.
constexpr int kMostInCluster = 8;

/// Blocks of a multiprocessor: of more of 128 elements, shared memory doesn't hold the keys.
template <class Codec, int kDim>
inline constexpr int kBlocks = kDim == 64      ? 4
                               : Codec::kCoded ? 5
                                               : 3;

template <class Codec, int kDim>
__global__ void __launch_bounds__(kAttentionThreads, kBlocks<Codec, kDim>)
    decode_kernel(const __grid_constant__ DecodeArgs args) {
  extern __shared__ __align__(128) uint4 memory[];
  auto& shared = *reinterpret_cast<DecodeShared<Codec, kDim>*>(memory);
  auto* keys = reinterpret_cast<std::byte*>(memory) + sizeof(shared);
  let_next_start();
  // The step's input, which no kernel writes.
  const DecodeTile tile(args);
  if (tile.is_empty) return;
#if __CUDA_ARCH__ >= 900
  if (threadIdx.x % 32 == 0) {
    init_barrier(shared.keys_here + threadIdx.x / 32, 1);
    init_barrier(shared.values_here + threadIdx.x / 32, 1);
    publish_barriers();
  }
  __syncwarp();
#endif
  if (tile.num_rows <= 8) {
    attend<Codec, kDim, 1>(args, tile, shared, keys);
  } else {
    attend<Codec, kDim, 2>(args, tile, shared, keys);
  }
  if (!tile.is_shared()) return;
#if __CUDA_ARCH__ >= 900
  if (args.in_clusters) return merge_cluster<kDim>(args, keys);
#endif
  merge_when_last<kDim>(args, shared.is_last);
}

DecodeArgs decode_args(const AttentionTask& task, const RopeAppendTask& heads) {
  DecodeArgs args = {};
  args.cache = task.cache.data;
  args.block_bytes = task.cache.block_bytes;
  args.head_bytes = task.cache.head_bytes;
  args.block_size = task.cache.block_size;
  args.num_kv_heads = task.cache.num_kv_heads;
  args.num_heads = task.num_heads;
  args.group = task.num_heads / task.cache.num_kv_heads;
  args.group_inverse = (1 << 16) / args.group + (args.group > 1 ? 1 : 0);
  args.slices = task.slices;
  args.tables = task.tables;
  args.qkv = heads.qkv;
  args.cosine = heads.cosine;
  args.sine = heads.sine;
  args.q_norm = heads.q_norm;
  args.k_norm = heads.k_norm;
  args.eps = heads.eps;
  args.window = task.window;
  args.scale = task.scale * kLog2E;
  args.is_bf16 = task.out_element == Element::kBf16;
  args.rehearses = task.waits_long;
  args.out = static_cast<std::uint16_t*>(task.out);
  args.out_stride = task.out_stride;
  args.out_run = task.out_run;
  args.first_partials = task.first_partials;
  args.first_queries = task.first_queries;
  args.partial_sums = task.partial_sums;
  args.partial_stats = task.partial_stats;
  args.arrivals = task.arrivals;
  args.next_largest = task.next_largest;
  return args;
}

template <class Codec, int kDim>
void launch(const AttentionTask& task, const RopeAppendTask& heads, StreamHandle stream) {
  constexpr int kPlaneBytes = DecodeChunk<Codec, kDim>::kPlaneBytes;
  constexpr int kBytes = static_cast<int>(sizeof(DecodeShared<Codec, kDim>)) + kPlaneBytes;
  constexpr int kReserved = 1024;  // of every block, by the driver
  auto* kernel = decode_kernel<Codec, kDim>;
  DecodeArgs args = decode_args(task, heads);
  const dim3 grid(task.cache.num_kv_heads, task.shares, task.num_tiles);
  // Values have room of their own, and are asked for early, where all blocks find theirs at once;
  // else more blocks share a multiprocessor.
  const int at_once =
      multiprocessors() * (shared_bytes_of_multiprocessor() / (kBytes + kPlaneBytes + kReserved));
  const auto blocks = static_cast<int>(grid.x * grid.y * grid.z);
  const bool is_apart = blocks <= at_once && kBytes + kPlaneBytes <= most_shared_bytes_of_block();
  args.values_offset = is_apart ? kPlaneBytes : 0;
  int bytes = kBytes + args.values_offset;
  if (Codec::kCoded && task.shares < task.max_chunks) {  // some walk over several chunks
    args.queries_offset = kPlaneBytes + args.values_offset;
    bytes += kQueryBytes<kDim>;
  }
  args.early_blocks =
      multiprocessors() *
      std::min(kBlocks<Codec, kDim>, shared_bytes_of_multiprocessor() / (bytes + kReserved));
  // A cluster waits until all of it find room: with larger heads, of which few blocks do, that took
  // longer than it saved (8B shape in fp8, one stream, two chunks: 2.76 ms instead of 2.68; 1B
  // shape: 0.630 instead of 0.646).
  args.in_clusters = kDim == 64 && is_apart && blocks <= at_once / 2 && takes_hopper_kernels() &&
                     task.shares == task.max_chunks && task.shares <= kMostInCluster;
  launch_clusters(kernel, grid, dim3(1, args.in_clusters ? task.shares : 1), kAttentionThreads,
                  bytes, stream, args);
}

template <class Codec>
void launch(const AttentionTask& task, const RopeAppendTask& heads, StreamHandle stream) {
  task.cache.head_dim == 64 ? launch<Codec, 64>(task, heads, stream)
                            : launch<Codec, 128>(task, heads, stream);
}

}  // namespace

bool attention_decodes(const CacheView& cache) {
  return (cache.head_dim == 64 || cache.head_dim == 128) && cache.element != CacheElement::kF32;
}

void attention_decode(const AttentionTask& task, const RopeAppendTask& heads, StreamHandle stream) {
  if (task.num_tiles == 0) return;
  with_codec(task.cache.element,
             [&]<class Codec>(const Codec&) { launch<Codec>(task, heads, stream); });
}

}  // namespace iol::cuda
