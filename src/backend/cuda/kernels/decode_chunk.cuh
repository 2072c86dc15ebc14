#pragma once
// What the parts of attention_decode.cu share: a block's arguments, its tile, its shared memory,
// and how a chunk's keys and values come there.
#include "backend/cuda/kernels/async_copy.cuh"
#include "backend/cuda/kernels/attention_numbers.cuh"
#include "backend/cuda/kernels/copy_engine.cuh"

namespace iol::cuda {

inline constexpr int kRunsOfWarp = kRunsOfChunk / kAttentionWarps;

/// Of AttentionTask and RopeAppendTask what a decode needs, and no more: a block reads it once.
struct DecodeArgs {
  std::byte* cache;  // see CacheView
  std::int64_t block_bytes;
  std::int64_t head_bytes;
  int block_size;
  int num_kv_heads;
  int num_heads;
  int group;          // query heads of a key-value head
  int group_inverse;  // row / group = row * group_inverse >> 16
  const Slice* slices;
  const std::int32_t* tables;
  const float* qkv;
  const float* cosine;
  const float* sine;
  const float* q_norm;  // [D] or null
  const float* k_norm;
  double eps;
  int window;
  float scale;        // of scores, to units of log2
  int values_offset;  // of the values behind the keys, in bytes; 0: they take the keys' place
  // Of queries of a coded cache behind the keys, where a block has several chunks; 0: weights take
  // their place.
  int queries_offset;
  int early_blocks;  // of the grid that find room at once
  bool is_bf16;      // what `out` holds, else f16
  bool rehearses;    // while the QKV projection isn't there
  bool in_clusters;  // the shares of a slice are a cluster, each with a chunk
  int out_stride;
  int out_run;
  const std::int32_t* first_queries;   // see AttentionTask
  const std::int32_t* first_partials;  // likewise
  std::uint16_t* out;
  float* partial_sums;
  float* partial_stats;
  int* arrivals;
  std::uint32_t* next_largest;  // see AttentionTask
};

// The grid: key-value heads by shares by slices. Blocks begin in this order, so all of a slice
// begin together, those of the first slices, which are the longest, before all others.
__device__ __forceinline__ int kv_head_of_block() { return static_cast<int>(blockIdx.x); }
__device__ __forceinline__ int share_of_block() { return static_cast<int>(blockIdx.y); }
__device__ __forceinline__ int slice_of_block() { return static_cast<int>(blockIdx.z); }

/// A slice and its rows that are wanted: of tokens from first_query on, at most 16.
struct DecodeRows {
  Slice slice;
  int first_query;
  int num_rows;
  int last_position;
  __device__ __forceinline__ explicit DecodeRows(const DecodeArgs& args) {
    const int4 v = reinterpret_cast<const int4*>(args.slices)[slice_of_block()];
    slice = {v.x, v.y, v.z, v.w};
    first_query = args.first_queries != nullptr ? args.first_queries[slice_of_block()] : 0;
    num_rows = (slice.num_tokens - first_query) * args.group;
    last_position = slice.first_position + slice.num_tokens - 1;
  }
};

/// All chunks of a slice, and the blocks that share them.
struct DecodeRange {
  int first;
  int last;
  int shares;
  int first_partial;  // negative: not shared
  __device__ __forceinline__ DecodeRange(const DecodeArgs& args, const DecodeRows& rows) {
    first_partial = args.first_partials[slice_of_block()];
    const int first_query = rows.slice.first_position + rows.first_query;
    const int seen = args.window > 0 ? max(first_query + 1 - args.window, 0) : 0;
    first = seen / kChunkPositions;
    last = rows.last_position / kChunkPositions;
    shares = first_partial >= 0 ? min(static_cast<int>(gridDim.y), count()) : 1;
  }
  [[nodiscard]] __device__ __forceinline__ int count() const { return last - first + 1; }
  /// The entry of partial results of what would be chunk 0.
  [[nodiscard]] __device__ __forceinline__ int zeroth_partial() const {
    return first_partial - first;
  }
};

/// What a block has of them.
struct DecodeTile : DecodeRows {
  static constexpr int kAlone = -1 << 30;
  int first_chunk;
  int last_chunk;
  int zeroth_partial = kAlone;
  bool is_empty;
  __device__ __forceinline__ explicit DecodeTile(const DecodeArgs& args) : DecodeRows(args) {
    const DecodeRange all(args, *this);
    const int share = share_of_block();
    if (all.first_partial >= 0) zeroth_partial = all.zeroth_partial();
    if (all.shares == all.count()) {  // without divisions
      first_chunk = last_chunk = all.first + share;
    } else if (all.shares == 1) {
      first_chunk = all.first;
      last_chunk = all.last;
    } else {
      first_chunk = all.first + share * all.count() / all.shares;
      last_chunk = all.first + (share + 1) * all.count() / all.shares - 1;
    }
    is_empty = slice.num_tokens == 0 || share >= all.shares;
  }
  [[nodiscard]] __device__ __forceinline__ bool is_shared() const {
    return zeroth_partial != kAlone;
  }
};

/// The beginning of a block's shared memory; keys and values follow, which bulk copies want at
/// multiples of 128 bytes: elsewhere they take a quarter longer.
template <class Codec, int kDim>
struct alignas(128) DecodeShared {
  // Operand A in units of 16 rows (or 8) x 16 columns. Weights take the queries' place where every
  // warp has those in registers by then or has had its use of them.
  std::uint32_t weights[kRunsOfChunk * 32 * 4];
  float scales[2][Codec::kCoded ? kChunkPositions : 4];     // of keys, of values
  float query_scales[Codec::kCoded ? kDecodeTileRows : 4];  // see RopeAppendTask
  // Of each row and warp, over the warp's positions: largest score, sum of weights, and the largest
  // weight times its value's scale.
  float most[kDecodeTileRows][kAttentionWarps];
  float totals[kDecodeTileRows][kAttentionWarps];
  std::uint32_t weighted[Codec::kCoded ? kDecodeTileRows : 4][kAttentionWarps];
  float norm_scales[kDecodeTileRows + kMostDecodeTokens];  // of queries, of keys
  // For what each warp asks for: four runs.
  std::uint64_t keys_here[kAttentionWarps];
  std::uint64_t values_here[kAttentionWarps];
  bool is_last;  // of the tile's chunks, to be merged
};

template <int kDim>
inline constexpr int kQueryBytes = kDim / 16 * 512;  // of a tile

/// A chunk on its way: each warp asks for four of its runs of 16 positions, a lane for each.
template <class Codec, int kDim>
struct DecodeChunk {
  static constexpr int kUnits = kDim / 16;
  static constexpr int kRunBytes = kUnits * 32 * static_cast<int>(sizeof(typename Codec::Stored));
  static constexpr int kPlaneBytes = kRunsOfChunk * kRunBytes;
  static constexpr int kScaleBytes = 16 * static_cast<int>(sizeof(float));  // of a run's codes

  int num_runs;                       // that the warp asks for
  const std::byte* run = nullptr;     // keys of the lane's run
  const std::byte* scales = nullptr;  // of them, where they are codes

  __device__ __forceinline__ DecodeChunk(const DecodeArgs& args, const DecodeTile& tile,
                                         int chunk) {
    const int lane = threadIdx.x % 32;
    const int first = chunk * kRunsOfChunk + static_cast<int>(threadIdx.x) / 32 * kRunsOfWarp;
    num_runs = min(max(tile.last_position / 16 - first + 1, 0), kRunsOfWarp);
    if (lane >= num_runs) return;
    const auto position = static_cast<unsigned>(first + lane) * 16;
    const auto block = position / static_cast<unsigned>(args.block_size);
    const auto offset = position - block * static_cast<unsigned>(args.block_size);
    const std::byte* head =
        args.cache +
        args.tables[tile.slice.first_entry + static_cast<int>(block)] * args.block_bytes +
        kv_head_of_block() * args.head_bytes;
    run = head + offset / 16 * kRunBytes;
    if constexpr (Codec::kCoded)
      scales = head + args.block_size / 16 * 2 * kRunBytes + offset * sizeof(float);
  }

  /// Asks for the warp's keys and the scales of keys and values, or for its values. `to`: where the
  /// chunk goes.
  __device__ __forceinline__ void copy(const DecodeArgs& args, bool of_values, std::byte* to,
                                       DecodeShared<Codec, kDim>& shared) const {
    std::uint64_t* barrier = (of_values ? shared.values_here : shared.keys_here) + threadIdx.x / 32;
    const bool has_scales = Codec::kCoded && !of_values;
    expect(kRunBytes + (has_scales ? 2 * kScaleBytes : 0), barrier);
    copy_runs(run + (of_values ? args.block_size / 16 * kRunBytes : 0), kRunBytes, to, barrier);
    if (!has_scales) return;
    copy_runs(scales, kScaleBytes, shared.scales[0], barrier);
    copy_runs(scales + args.block_size * 4, kScaleBytes, shared.scales[1], barrier);
  }
  /// Asks for both: for values first where new ones come, which everybody waits for.
  __device__ __forceinline__ void copy_both(const DecodeArgs& args, std::byte* keys,
                                            DecodeShared<Codec, kDim>& shared) const {
    bool of_values = num_runs < kRunsOfWarp;
#pragma unroll 1  // one code for both
    for (int i = 0; i < 2; ++i) {
      copy(args, of_values, keys + (of_values ? args.values_offset : 0), shared);
      of_values = !of_values;
    }
  }

 private:
  /// `bytes` of each run.
  __device__ __forceinline__ void expect([[maybe_unused]] int bytes,
                                         [[maybe_unused]] std::uint64_t* barrier) const {
#if __CUDA_ARCH__ >= 900
    if (threadIdx.x % 32 == 0 && num_runs > 0) arrive_expecting(barrier, num_runs * bytes);
#endif
  }
  /// `bytes` of each run, the lane's from `from`, to their places in the chunk.
  __device__ __forceinline__ void copy_runs(const std::byte* from, int bytes, void* chunk,
                                            [[maybe_unused]] std::uint64_t* barrier) const {
    const int lane = threadIdx.x % 32;
    std::byte* to = static_cast<std::byte*>(chunk) + threadIdx.x / 32 * kRunsOfWarp * bytes;
#if __CUDA_ARCH__ >= 900
    if (lane < num_runs) copy_bulk(to + lane * bytes, from, bytes, barrier);
#else
    for (int i = 0; i < num_runs; ++i) {
      const auto* source = reinterpret_cast<const std::byte*>(
          __shfl_sync(0xffffffffU, reinterpret_cast<unsigned long long>(from), i));
      for (int at = lane * 16; at < bytes; at += 512) copy_async(to + i * bytes + at, source + at);
    }
#endif
  }
};

// Waiting for copies: where there is a copy engine by a barrier for each warp's; else each thread
// waits for its own, and barriers of the block that come anyway do the rest.

/// Before the warp's own keys or values are read or written.
__device__ __forceinline__ void wait_for_copies(std::uint64_t* barrier, int parity) {
#if __CUDA_ARCH__ >= 900
  wait_phase(barrier, parity);
#endif
}
/// Before a barrier of the block.
__device__ __forceinline__ void finish_own_copies() {
#if __CUDA_ARCH__ < 900
  wait_for_all_copies();
#endif
}
/// Lets later copies see what the thread has stored.
__device__ __forceinline__ void publish_to_copies() {
#if __CUDA_ARCH__ >= 900
  asm volatile("fence.proxy.async.global;" ::: "memory");
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

}  // namespace iol::cuda
