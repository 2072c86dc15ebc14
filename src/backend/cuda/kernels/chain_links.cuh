#pragma once
// What the kernel of linear_chain.cuh is given, and how it divides its shared memory.
#include "backend/cuda/kernels/finish_row.cuh"

namespace iol::cuda {

inline constexpr int kBlockBytes = 1024;  // of weights: a block of K of a tile
inline constexpr int kChainStageBlocks = 4;
inline constexpr int kPartStageBytes = kChainStageBlocks * kBlockBytes;
inline constexpr int kPartStages = 5;  // of a part
inline constexpr int kUnitSlots = 2;

struct ChainLink {
  LinearArgs linear;
  RowSource source;  // but for the first: what the link before writes
  RowFinishArgs finish;
  int unit_tiles = 1;  // 2: gate and up
  int num_units = 0;
  int num_blocks = 0;              // of K
  float* block_largest = nullptr;  // [blocks] magnitudes of the row written, or null
};

/// part_blocks(); no link is int4.
__device__ __forceinline__ BlockRange link_part(const ChainLink& link, int part) {
  static_assert(kNumParts == 8);
  return {(part * link.num_blocks) >> 3, ((part + 1) * link.num_blocks) >> 3};
}

struct ChainArgs {
  ChainLink links[kMostLinks];
  int num_links;
  int row_bytes;            // of the longest row, rounded up
  int stages_asked;         // of a part, on their way together
  std::uint32_t* arrivals;  // [kMostLinks - 1] blocks, the first zero between kernels
};

/// One of kPlaces places, taken in turn, and the parity of its turn.
template <int kPlaces>
struct Turn {
  int place = 0;
  int parity = 0;
  __device__ __forceinline__ void next() {
    if (++place == kPlaces) {
      place = 0;
      parity ^= 1;
    }
  }
};

/// Of the stages of one part of K.
struct PartRing {
  std::uint64_t stage_is_here[kPartStages];
  std::uint64_t stage_is_free[kPartStages];
};

/// At the beginning of a block's shared memory; the row follows, then the parts' stages.
struct ChainShared {
  float parts[kUnitSlots][kNumParts * 2 * kTileRows];  // [part][row] of a unit
  std::uint64_t unit_is_here[kUnitSlots];
  std::uint64_t slot_is_free[kUnitSlots];
  std::uint64_t link_is_over;
  PartRing rings[kNumParts];
};
inline constexpr int kChainSharedBytes = (static_cast<int>(sizeof(ChainShared)) + 127) / 128 * 128;
inline constexpr int kChainStageBytes = kNumParts * kPartStages * kPartStageBytes;

}  // namespace iol::cuda
