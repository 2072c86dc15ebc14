#pragma once
// The tiles of a block of threads of attention_prompts.cu. Blocks stay and take one tile of a
// key-value head after the other, the last of the list first, since these see most. A warp finds
// them ahead of those that use them.
#include "backend/cuda/kernels/prompts_ring.cuh"

namespace iol::cuda {

#if defined(IOL_HAS_WGMMA)

/// The block's first tile is that of its number; the others come with tickets from a counter that
/// is zero between kernels (AttentionTask::arrivals).
template <class Memory>
struct TileFinder {
  const PromptArgs& task;
  Memory& memory;

  /// By a warp. Until there is none; then one of kv_head -1.
  __device__ __forceinline__ void run() {
    const int items = task.num_tiles * task.cache.num_kv_heads;
    const int blocks = static_cast<int>(gridDim.x);
    TileCursor cursor;
    tell(cursor, static_cast<int>(blockIdx.x));
    wait_for_previous();
    int item = 0;
    while (item < items) {
      cursor.advance();
      int ticket = 0;
      if (threadIdx.x % 32 == 0) {
        ticket = atomicAdd(task.arrivals, 1);
        // Every block draws one in vain, so this is the last.
        if (ticket == items - 1) *task.arrivals = 0;
      }
      item = blocks + __shfl_sync(0xffffffffU, ticket, 0);
      wait_phase(memory.tile_done + cursor.slot, cursor.parity ^ 1);
      tell(cursor, item);
    }
  }

 private:
  __device__ __forceinline__ void tell(const TileCursor& cursor, int item) const {
    const int kv_heads = task.cache.num_kv_heads;
    PromptTile& tile = memory.tiles[cursor.slot];
    if (item < task.num_tiles * kv_heads) {
      const TileRange range = tile_range(task, task.num_tiles - 1 - item / kv_heads,
                                         item % kv_heads, 0, kPrefillTileRows);
      if (threadIdx.x % 32 == 0)
        tile = {range, range.first_row / task.heads, range.first_row % task.heads};
    } else if (threadIdx.x % 32 == 0) {
      tile.kv_head = -1;
    }
    arrive_of_warp(memory.tile_known + cursor.slot);
  }
};

#endif

}  // namespace iol::cuda
