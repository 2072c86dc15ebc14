#pragma once
// What the kernel of linear_chain.cuh is given, and how it divides its shared memory.
#include "backend/cuda/kernels/finish_row.cuh"

namespace iol::cuda {

inline constexpr int kPartStages = 5;  // of a part
inline constexpr int kUnitSlots = 2;
inline constexpr int kChainGroup = 128;  // columns that share a scale, of int4

/// A stage of a part: blocks of K of a tile, of a pair half as many of each tile. Of int4 the
/// groups' scales, then their zero points follow, 16 of each group.
template <class Format>
struct ChainStage {
  static constexpr int kBlockBytes = Format::kTileBytes;
  static constexpr int kWeightBytes = 4096;
  static constexpr int kBlocks = kWeightBytes / kBlockBytes;
  static constexpr int kBlocksOfGroup = kChainGroup * Format::kOperandBytes / Format::kRowBytes;
  static constexpr int kGroups = Format::kHasGroups ? kBlocks / kBlocksOfGroup : 0;
  static constexpr int kScaleBytes = kTileRows * 4;  // of a group
  static constexpr int kScales = kWeightBytes;       // where they begin
  static constexpr int kZeros = kScales + kGroups * kScaleBytes;
  static constexpr int kBytes = (kZeros + kGroups * kTileRows + 127) / 128 * 128;
};

/// Bytes of shared memory that a link's row takes; of int4 the groups' facts follow its codes.
struct GroupFacts {
  float scale;
  std::int32_t sum;  // of the codes
};
template <class Format>
IOL_HOST_DEVICE constexpr int chain_row_bytes(const MatrixView& matrix) {
  const int facts =
      Format::kHasGroups ? matrix.num_groups * static_cast<int>(sizeof(GroupFacts)) : 0;
  return (matrix.padded_columns * Format::kOperandBytes + facts + 127) / 128 * 128;
}

struct ChainLink {
  LinearArgs linear;
  RowSource source;  // but for the first: what the link before writes
  RowFinishArgs finish;
  int unit_tiles = 1;  // 2: gate and up
  int num_units = 0;
  int num_blocks = 0;              // of K
  float* block_largest = nullptr;  // [blocks] magnitudes of the row written, or null
};

/// part_blocks()
template <class Format>
__device__ __forceinline__ BlockRange link_part(const ChainLink& link, int part) {
  static_assert(kNumParts == 8);
  constexpr int kUnit = Format::kHasGroups ? ChainStage<Format>::kBlocksOfGroup : 1;
  const int units = link.num_blocks / kUnit;
  return {(part * units >> 3) * kUnit, ((part + 1) * units >> 3) * kUnit};
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
template <class Format>
inline constexpr int kChainRingBytes = kPartStages* ChainStage<Format>::kBytes;  // of a part

}  // namespace iol::cuda
