#pragma once
// The ring in shared memory through which weights and rows of x go to the warpgroups of
// linear_wgmma.cuh. A stage is two blocks of K: rows of x for kTokens tokens, swizzled by the copy
// engine, then packed weights, tile after tile. No stage crosses the end of a part of K, so a
// stage's second block may be of no use; copies bring whole boxes even so, and what lies outside
// the matrix or behind the last token is zero. Of weights in groups along K (int4) a stage also has
// scales and zero points of the groups that it touches: [tile][group][16], and scales of rows of x:
// [group][token].
#include <type_traits>

#include "backend/cuda/kernels/copy_engine.cuh"
#include "backend/cuda/kernels/finish_tokens.cuh"
#include "backend/cuda/kernels/linear_tile.cuh"
#include "backend/cuda/kernels/row_map.h"

namespace iol::cuda {

inline constexpr int kStageBlocks = 2;      // of K
inline constexpr int kBoxBytes = 128;       // of a row of x
inline constexpr int kWeightWordBytes = 8;  // so that a box may have all of a stage
inline constexpr int kMostStages = 16;

struct WgmmaArgs {
  LinearArgs linear;
  CUtensorMap weights;            // a row of words to a tile of 16 rows
  CUtensorMap x;                  // [num_tokens] rows of bytes
  int part_begin[kNumParts + 1];  // blocks of K
  int tiles;                      // of 16 rows that a unit of work has
  int token_units;                // of kTokens tokens each
  int row_units;                  // of `tiles` tiles each
  int units;                      // of work: token_units for each row unit
  int sharers;                    // see WideShape
  SumExchange exchange;
  int stages;
  int stage_bytes;
};

/// Of weights in groups.
struct GroupedWgmmaArgs : WgmmaArgs {
  CUtensorMap scales;    // a row of words to a tile of 16 rows
  CUtensorMap zeros;     // likewise
  CUtensorMap x_scales;  // a row of words to a group
  int group_steps;       // groups of 32 columns that share a scale
  unsigned step_groups;  // for group_of()
  int stage_groups;      // that a stage touches at most
  int scales_at;         // bytes from a stage's beginning
  int zeros_at;
  int x_scales_at;
};
template <class Format>
using WgmmaArgsOf = std::conditional_t<Format::kHasGroups, GroupedWgmmaArgs, WgmmaArgs>;

/// 2^31 / steps, rounded up, or one more: makes a division of group_of().
inline unsigned inverse_of(int steps) { return (1U << 31) / static_cast<unsigned>(steps) + 1; }

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900

/// The stages in the order in which they are filled and emptied.
struct Ring {
  std::byte* memory;
  std::uint64_t* full;   // [stages]
  std::uint64_t* empty;  // [stages]
  int stages;
  int stage = 0;
  int parity = 0;
  __device__ __forceinline__ void advance() {
    if (++stage < stages) return;
    stage = 0;
    parity ^= 1;
  }
  __device__ __forceinline__ void wait_full() const { wait_phase(full + stage, parity); }
};

/// By a warpgroup, two warps of which fill the ring.
template <class Filler>
__device__ __forceinline__ void fill_ring(Filler& filler) {
  // From a lane, so that the compiler knows it for the same in all.
  const int warp = __shfl_sync(0xffffffffU, threadIdx.x % kFinishThreads / 32, 0);
  if (warp == 0) filler.fill_weights();
  if (warp == 1) filler.fill_rows();
}

/// The group of step `step` of K, below 2^16.
__device__ __forceinline__ int group_of(int step, unsigned step_groups) {
  return static_cast<int>(__umulhi(2U * static_cast<unsigned>(step) + 1, step_groups));
}

/// Read once: the compiler would read it again wherever it is used.
__device__ __forceinline__ int lane_of_warp() {
  int lane;
  asm volatile("mov.u32 %0, %%laneid;" : "=r"(lane));
  return lane;
}

/// Read each time, so that what is made of it needs no register in between.
__device__ __forceinline__ int number_of_block() {
  int block;
  asm volatile("mov.u32 %0, %%ctaid.x;" : "=r"(block));
  return block;
}

/// Parts [first_part, end_part) of K of a unit of work.
struct Piece {
  int row_unit;
  int token_unit;
  int first_part;
  int end_part;
};

/// What a block of threads has to do, in this order.
struct Share {
  int num_pieces;
  int first;       // whole units: the first of them; else the tokens' unit
  int first_part;  // whole units: of each; else of all parts of the row units, one behind the other
  int end_part;

  /// kSplit blocks with consecutive numbers have the same units.
  template <int kSplit>
  [[nodiscard]] static __device__ __forceinline__ Share of(const WgmmaArgs& args) {
    const int block = number_of_block();
    if (kSplit == 1 && args.sharers > 0) {
      const int sharer = block / args.token_units;
      const int parts = args.row_units * kNumParts;
      const int begin = sharer * parts / args.sharers;
      const int end = (sharer + 1) * parts / args.sharers;
      return {(end - 1) / kNumParts - begin / kNumParts + 1, block % args.token_units, begin, end};
    }
    const int first = block / kSplit;
    const int stride = static_cast<int>(gridDim.x) / kSplit;
    const int first_part = block % kSplit * (kNumParts / kSplit);
    return {first < args.units ? (args.units - first - 1) / stride + 1 : 0, first, first_part,
            first_part + kNumParts / kSplit};
  }
  /// Of shared units the last comes first, which another block ends, and the first last: by then
  /// the block that began it is long over it.
  template <int kSplit>
  [[nodiscard]] __device__ __forceinline__ Piece piece(const WgmmaArgs& args, int i) const {
    if (kSplit == 1 && args.sharers > 0) {
      const int row_unit = (end_part - 1) / kNumParts - i;
      const int begin = row_unit * kNumParts;
      return {row_unit, first, max(first_part - begin, 0), min(end_part - begin, kNumParts)};
    }
    const int unit = first + i * (static_cast<int>(gridDim.x) / kSplit);
    return {unit / args.token_units, unit % args.token_units, first_part, end_part};
  }
  /// Stages, when all parts are whole stages.
  template <int kSplit>
  [[nodiscard]] __device__ __forceinline__ int stages(const WgmmaArgs& args) const {
    int blocks = 0;
    for (int i = 0; i < num_pieces; ++i) {
      const Piece one = piece<kSplit>(args, i);
      blocks += args.part_begin[one.end_part] - args.part_begin[one.first_part];
    }
    return blocks / kStageBlocks;
  }
};

/// Two warps fill the ring, one with weights, which need no other kernel's results, the other with
/// rows of x.
template <class Format, int kTokens, int kSplit>
struct RingFiller {
  static constexpr int kRowBytes = kTokens * kStageBlocks * Format::kRowBytes;
  static constexpr int kTileBytes = kStageBlocks * Format::kTileBytes;
  const WgmmaArgsOf<Format>& args;
  Ring ring;
  Share share;

  __device__ __forceinline__ void fill_weights() {
    if constexpr (kSplit > 1 && !Format::kHasGroups) return fill_tiles();
    prefetch_map(&args.weights);
    if constexpr (Format::kHasGroups) {
      prefetch_map(&args.scales);
      prefetch_map(&args.zeros);
    }
    fill([&](int offset, int block, int row_unit, int) {
      if (!is_elected()) return;
      std::uint64_t* full = ring.full + ring.stage;
      const int tile = row_unit * args.tiles;
      if constexpr (Format::kHasGroups) {
        constexpr int kGroupBytes = kTileRows * (sizeof(float) + 1);
        arrive_expecting(full, args.tiles * (kTileBytes + args.stage_groups * kGroupBytes));
        const int group = group_of(block * Format::kSteps, args.step_groups);
        std::byte* stage = ring.memory + offset;
        copy_box(stage + args.scales_at, &args.scales, group * (kTileRows * 4 / kWeightWordBytes),
                 tile, full);
        copy_box(stage + args.zeros_at, &args.zeros, group * (kTileRows / kWeightWordBytes), tile,
                 full);
      } else {
        arrive_expecting(full, args.tiles * kTileBytes);
      }
      copy_box(ring.memory + kRowBytes + offset, &args.weights,
               block * (Format::kTileBytes / kWeightWordBytes), tile, full);
    });
  }
  /// A copy for each tile: of boxes the memory gives 4.15 TB/s, of these 4.4. But a copy is some 60
  /// ns of the warp, which is too long where one block alone is to keep a multiprocessor busy.
  /// Tiles and blocks of K behind the matrix aren't copied: nothing is made of what lies there.
  __device__ __forceinline__ void fill_tiles() {
    const int lane = lane_of_warp();
    const int row_blocks = args.part_begin[kNumParts];
    const int all_tiles = args.linear.matrix.rows / kTileRows;
    fill([&](int offset, int block, int row_unit, int) {
      std::uint64_t* full = ring.full + ring.stage;
      const int first = row_unit * args.tiles;
      const int tiles = min(args.tiles, all_tiles - first);
      const int bytes = min(kStageBlocks, row_blocks - block) * Format::kTileBytes;
      if (lane == 0) arrive_expecting(full, tiles * bytes);
      __syncwarp();
      if (lane < tiles)
        copy_bulk(
            ring.memory + kRowBytes + offset + lane * kTileBytes,
            args.linear.weights +
                (static_cast<std::int64_t>(first + lane) * row_blocks + block) * Format::kTileBytes,
            bytes, full);
    });
  }
  __device__ __forceinline__ void fill_rows() {
    prefetch_map(&args.x);
    if constexpr (Format::kHasGroups) prefetch_map(&args.x_scales);
    wait_for_previous();
    fill([&](int offset, int block, int, int token_unit) {
      if (!is_elected()) return;
      std::uint64_t* full = ring.full + ring.stage;
      if constexpr (Format::kHasGroups) {
        arrive_expecting(full, kRowBytes + args.stage_groups * kTokens * 4);
        copy_box(ring.memory + offset + args.x_scales_at, &args.x_scales,
                 token_unit * (kTokens * 4 / kWeightWordBytes),
                 group_of(block * Format::kSteps, args.step_groups), full);
      } else {
        arrive_expecting(full, kRowBytes);
      }
#pragma unroll
      for (int box = 0; box < kRowBytes / (kTokens * kBoxBytes); ++box)
        copy_box(ring.memory + offset + box * kTokens * kBoxBytes, &args.x,
                 block * Format::kRowBytes + box * kBoxBytes, token_unit * kTokens, full);
    });
  }

 private:
  /// bring(offset of the stage, its first block of K, the unit's place among rows and tokens)
  template <class Bring>
  __device__ __forceinline__ void fill(Bring bring) {
    int offset = 0;
#pragma unroll 1
    for (int i = 0; i < share.num_pieces; ++i) {
      const Piece piece = share.piece<kSplit>(args, i);
#pragma unroll 1
      for (int part = piece.first_part; part < piece.end_part; ++part) {
        const int end = args.part_begin[part + 1];
#pragma unroll 1
        for (int block = args.part_begin[part]; block < end; block += kStageBlocks) {
          wait_phase(ring.empty + ring.stage, ring.parity ^ 1);
          bring(offset, block, piece.row_unit, piece.token_unit);
          ring.advance();
          offset = ring.stage == 0 ? 0 : offset + args.stage_bytes;
        }
      }
    }
  }
};

#endif

}  // namespace iol::cuda
