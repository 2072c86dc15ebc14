#pragma once
// The ring in shared memory through which weights and rows of x go to the warpgroups of
// linear_wgmma.cuh. A stage is two blocks of K: rows of x for kTokens tokens, swizzled by the copy
// engine, then packed weights, tile after tile. No stage crosses the end of a part of K, so a
// stage's second block may be of no use; copies bring whole boxes even so, and what lies outside
// the matrix or behind the last token is zero.
#include "backend/cuda/kernels/copy_engine.cuh"
#include "backend/cuda/kernels/linear_tile.cuh"
#include "backend/cuda/kernels/row_map.h"

namespace iol::cuda {

inline constexpr int kStageBlocks = 2;      // of K
inline constexpr int kBoxBytes = 128;       // of a row of x
inline constexpr int kWeightWordBytes = 8;  // so that a box may have all of a stage
inline constexpr int kMostStages = 16;

struct WgmmaArgs {
  LinearArgs linear;
  CUtensorMap weights;             // a row of words to a tile of 16 rows
  CUtensorMap x;                   // [num_tokens] rows of bytes
  int part_begin[kNumParts + 1];   // blocks of K
  int tiles;                       // of 16 rows that a unit of work has
  int token_units;                 // of kTokens tokens each
  int units;                       // of work: token_units for each `tiles` tiles
  int stages;
  int stage_bytes;
};

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900

/// The stages in the order in which they are filled and emptied.
struct Ring {
  std::byte* memory;
  std::uint64_t* full;   // [stages]
  std::uint64_t* empty;  // [stages]
  int stages;
  int stage_bytes;
  int stage = 0;
  int parity = 0;
  __device__ __forceinline__ void advance() {
    if (++stage < stages) return;
    stage = 0;
    parity ^= 1;
  }
  __device__ __forceinline__ std::byte* at() const { return memory + stage * stage_bytes; }
  __device__ __forceinline__ void wait_full() const { wait_phase(full + stage, parity); }
};

/// A stage of some unit of work: where its copies begin.
struct StageWalk {
  const WgmmaArgs& args;
  int first_part, last_part;  // that the block of threads sums up
  int stride;                 // blocks of threads that share the units
  int unit;
  int part;
  int block;

  __device__ __forceinline__ StageWalk(const WgmmaArgs& all, int first, int last, int first_unit,
                                       int unit_stride)
      : args(all), first_part(first), last_part(last), stride(unit_stride), unit(first_unit),
        part(first), block(all.part_begin[first]) {
    skip_empty_parts();
  }
  __device__ __forceinline__ bool has_stage() const { return unit < args.units; }
  __device__ __forceinline__ void next() {
    block += kStageBlocks;
    skip_empty_parts();
  }

 private:
  __device__ __forceinline__ void skip_empty_parts() {
    while (block >= args.part_begin[part + 1]) {
      if (++part == last_part) {
        part = first_part;
        unit += stride;
        if (unit >= args.units) return;
      }
      block = args.part_begin[part];
    }
  }
};

/// One thread fills the ring.
template <class Format, int kTokens>
struct RingFiller {
  static constexpr int kRowBytes = kStageBlocks * Format::kRowBytes;
  const WgmmaArgs& args;
  Ring ring;

  __device__ __forceinline__ void bring_weights(const StageWalk& walk) const {
    std::uint64_t* full = ring.full + ring.stage;
    arrive_expecting(full, ring.stage_bytes);
    copy_box(ring.at() + kTokens * kRowBytes, &args.weights,
             walk.block * (Format::kTileBytes / kWeightWordBytes),
             walk.unit / args.token_units * args.tiles, full);
  }
  __device__ __forceinline__ void bring_rows(const StageWalk& walk) const {
#pragma unroll
    for (int box = 0; box < kRowBytes / kBoxBytes; ++box)
      copy_box(ring.at() + box * kTokens * kBoxBytes, &args.x,
               walk.block * Format::kRowBytes + box * kBoxBytes,
               walk.unit % args.token_units * kTokens, ring.full + ring.stage);
  }
  /// Weights come before the kernel in front of this one is over, rows of x behind it.
  __device__ __forceinline__ void fill(StageWalk walk) {
    prefetch_map(&args.x);
    const Ring start = ring;
    StageWalk early = walk;
    for (int i = 0; i < ring.stages && early.has_stage(); ++i, early.next()) {
      bring_weights(early);
      ring.advance();
    }
    wait_for_previous();
    ring = start;
    for (int i = 0; walk.has_stage(); ++i, walk.next()) {
      if (i >= ring.stages) {
        wait_phase(ring.empty + ring.stage, ring.parity ^ 1);
        bring_weights(walk);
      }
      bring_rows(walk);
      ring.advance();
    }
  }
};

#endif

}  // namespace iol::cuda
