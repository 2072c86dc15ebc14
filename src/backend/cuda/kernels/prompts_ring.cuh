#pragma once
// Shared memory of attention_prompts.cu: a ring of slots, through which the keys and values of
// chunks go from warps that fill to two warpgroups that multiply, the rows' queries, and the tiles
// that the block is to do. A slot has 16 runs of 16 positions as the cache holds those of 16-bit
// numbers (cache_offset()), which is operand B of wgmma; codes go through a ring of their own.
#include "backend/cuda/kernels/attention_tile.cuh"
#include "backend/cuda/kernels/copy_engine.cuh"
#include "backend/cuda/kernels/wgmma.cuh"

namespace iol::cuda {

inline constexpr int kPromptGroups = 2;      // warpgroups that multiply
inline constexpr int kPromptGroupRows = 64;  // of each
inline constexpr int kPromptThreads = (kPromptGroups + 1) * 128;
inline constexpr int kPromptTiles = 4;  // that a block knows at a time
inline constexpr int kWidenWarps = 2;
static_assert(kPromptGroups * kPromptGroupRows == kPrefillTileRows);

/// What the kernel is given; the query heads of a key-value head, and 2^16 / that, rounded up.
struct PromptArgs : AttentionTask {
  int heads;
  int heads_inverse;
};

/// A tile, and the token (of the slice) and the head of its first row.
struct PromptTile : TileRange {
  int first_token;
  int first_head;
};

/// A place in a ring, in the order in which its slots are filled and emptied.
template <int kSlots>
struct RingCursor {
  int slot = 0;
  int parity = 0;
  __device__ __forceinline__ void advance() {
    if (++slot < kSlots) return;
    slot = 0;
    parity ^= 1;
  }
};
using TileCursor = RingCursor<kPromptTiles>;

/// Slots of the keys or values of a chunk each.
template <int kSlots, int kSlotRunBytes>
struct ChunkRing {
  using Cursor = RingCursor<kSlots>;
  static constexpr int kRunBytes = kSlotRunBytes;
  std::byte slots[kSlots][kRunsOfChunk * kRunBytes];
  std::uint64_t full[kSlots];
  std::uint64_t empty[kSlots];
  int num_runs[kSlots];  // that are there; of codes

  __device__ __forceinline__ void init(int fillers, int emptiers) {
    for (int i = 0; i < kSlots; ++i) {
      init_barrier(full + i, fillers);
      init_barrier(empty + i, emptiers);
    }
  }
};

template <class Codec, int kDim>
struct PromptMemory {
  static constexpr int kUnits = kDim / 16;
  static constexpr int kSlots = (Codec::kCoded ? 2 : 3) * (128 / kDim);
  static constexpr int kKeyStride = kUnits * 256;                  // between groups of eight keys
  static constexpr int kQueryBytes = kPromptGroupRows * kDim * 2;  // of a warpgroup
  using Ring = ChunkRing<kSlots, kUnits * 512>;
  using CodeRing = ChunkRing<Codec::kCoded ? kSlots : 1, Codec::kCoded ? kUnits * 256 : 16>;

  alignas(256) Ring ring;
  alignas(256) std::byte queries[kPromptGroups][kQueryBytes];  // [D / 16][64 rows] as operand A
  alignas(128) CodeRing codes;
  alignas(16) float scales[2][Codec::kCoded ? kChunkPositions : 4];  // of keys, of values
  std::uint64_t tail_here;  // a run that is completed in its slot
  std::uint64_t scales_full;
  std::uint64_t scales_empty;
  std::uint64_t tile_known[kPromptTiles];
  std::uint64_t tile_done[kPromptTiles];
  PromptTile tiles[kPromptTiles];

  /// By one thread, before the others use them.
  __device__ __forceinline__ void init() {
    constexpr int kRowWarps = kPromptGroups * 4;
    ring.init(Codec::kCoded ? kWidenWarps : 1, kRowWarps);
    codes.init(1, 32 * kWidenWarps);
    init_barrier(&tail_here, 1);
    init_barrier(&scales_full, 1);
    init_barrier(&scales_empty, 32 * kRowWarps);
    for (int i = 0; i < kPromptTiles; ++i) {
      init_barrier(tile_known + i, 1);
      init_barrier(tile_done + i, 32 * (kRowWarps + 1));
    }
    publish_barriers();
  }
};

#if defined(IOL_HAS_WGMMA)

/// The next tile, when it is known.
template <class Memory>
__device__ __forceinline__ const PromptTile& known_tile(Memory& memory, const TileCursor& cursor) {
  wait_phase(memory.tile_known + cursor.slot, cursor.parity);
  return memory.tiles[cursor.slot];
}
/// By a warp, whose lanes have all used what the barrier stands for.
__device__ __forceinline__ void arrive_of_warp(std::uint64_t* barrier) {
  __syncwarp();
  if (threadIdx.x % 32 == 0) arrive(barrier);
}
/// By each lane, when it has read what the barrier stands for. One could arrive for all, but
/// compute-sanitizer's racecheck takes the others' reads for unordered then.
__device__ __forceinline__ void arrive_of_lane(std::uint64_t* barrier) { arrive(barrier); }

/// What the thread has written to shared memory is seen by multiplications behind a barrier.
__device__ __forceinline__ void show_to_wgmma() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

#endif

}  // namespace iol::cuda
