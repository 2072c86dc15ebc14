#pragma once
// Products of one token behind one another in one kernel, see chain.h: a block of threads to a
// multiprocessor, and between two products ("links") a barrier of all blocks. What the chain
// gains: a block's weights come through rings (chain_ring.cuh) that run on across the barriers, so
// the memory doesn't stand still while a row is finished, all blocks are waited for and the next
// row is made.
//
// A unit is a tile of 16 rows, or a pair of gate and up; blocks take units in turn. Eight warps
// multiply, each its part of K (its row's part made by itself, chain_row.cuh); a ninth adds the
// parts in ascending order and finishes the unit while they go on; four more bring the weights. The
// bits are those of the kernels of one product.
#include <algorithm>

#include "backend/cuda/kernels/chain.h"
#include "backend/cuda/kernels/chain_ring.cuh"
#include "backend/cuda/kernels/chain_row.cuh"

namespace iol::cuda {

inline constexpr int kFeedWarps = 4;
inline constexpr int kChainThreads = 32 * (kNumParts + 1 + kFeedWarps);

/// All of a row's codes have one scale.
template <class Format>
inline constexpr bool has_row_scale = is_code(Format::kOperand) && !Format::kHasGroups;

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900

/// Counts this block in and waits for all others, by one thread. What threads have written that
/// it has met before can be read by those that it meets after.
__device__ __forceinline__ void meet_all_blocks(std::uint32_t* arrivals) {
  asm volatile("red.release.gpu.global.add.u32 [%0], 1;" ::"l"(arrivals) : "memory");
  std::uint32_t count;
  do {
    asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(count) : "l"(arrivals) : "memory");
  } while (count < gridDim.x);
}

/// Of the slots for sums of units.
using UnitSlot = Turn<kUnitSlots>;

/// A warp's sums of a stage, so many blocks of K of each tile. `row`: of the lane, from there on.
template <class Format, int kTiles>
__device__ __forceinline__ void sum_stage(const ChainLink& link, const std::byte* stage,
                                          const std::byte* row, int blocks,
                                          typename Format::Sum (&sums)[kTiles][1]) {
  using Stage = ChainStage<Format>;
  const int lane = threadIdx.x % 32;
  const auto multiply = [&](int i) {
    typename Format::Row x = {};
    if (lane < 4) x = Format::load_row(row + i * Format::kRowBytes);  // there is one token
#pragma unroll
    for (int t = 0; t < kTiles; ++t)
      Format::multiply(link.linear, 0, 0, 0,
                       Format::shared_weights(stage + t * (Stage::kWeightBytes / 2) +
                                              i * Stage::kBlockBytes + lane * 16),
                       x, sums[t][0]);
  };
  if (blocks == Stage::kBlocks / kTiles) {
#pragma unroll
    for (int i = 0; i < Stage::kBlocks / kTiles; ++i) multiply(i);
  } else {
#pragma unroll 1
    for (int i = 0; i < blocks; ++i) multiply(i);
  }
}

/// The same of groups; `facts`: of the row's, from there on.
template <class Format, int kTiles>
__device__ __forceinline__ void sum_groups(const std::byte* stage, const std::byte* row,
                                           const GroupFacts* facts, int groups,
                                           typename Format::Sum (&sums)[kTiles][1]) {
  using Stage = ChainStage<Format>;
  constexpr int kGroups = Stage::kGroups / kTiles;
  const int lane = threadIdx.x % 32;
  const auto add = [&](int g) {
    typename Format::Row x[Stage::kBlocksOfGroup] = {};
#pragma unroll
    for (int i = 0; i < Stage::kBlocksOfGroup; ++i) {
      if (lane < 4)
        x[i] = Format::load_row(row + (g * Stage::kBlocksOfGroup + i) * Format::kRowBytes);
    }
#pragma unroll
    for (int t = 0; t < kTiles; ++t) {
      const std::byte* weights = stage + t * (Stage::kWeightBytes / 2) +
                                 g * Stage::kBlocksOfGroup * Stage::kBlockBytes + lane * 16;
      const int place = (t * kGroups + g) * kTileRows + lane / 4;
      const auto* scales = reinterpret_cast<const float*>(stage + Stage::kScales) + place;
      const auto* zeros = reinterpret_cast<const std::uint8_t*>(stage + Stage::kZeros) + place;
      int dot[4] = {};
#pragma unroll
      for (int i = 0; i < Stage::kBlocksOfGroup; ++i)
        Format::add_dots(Format::shared_weights(weights + i * Stage::kBlockBytes), x[i], dot);
      sums[t][0].d[0] = Format::with_group(sums[t][0].d[0], dot[0], zeros[0], scales[0],
                                           facts[g].scale, facts[g].sum);
      sums[t][0].d[2] = Format::with_group(sums[t][0].d[2], dot[2], zeros[8], scales[8],
                                           facts[g].scale, facts[g].sum);
    }
  };
  if (groups == kGroups) {
#pragma unroll
    for (int g = 0; g < kGroups; ++g) add(g);
  } else {
#pragma unroll 1
    for (int g = 0; g < groups; ++g) add(g);
  }
}

/// A warp's sums of a unit, a stage after the other. `row`: of all warps.
template <class Format, int kTiles>
__device__ __forceinline__ void sum_unit(const ChainLink& link, PartStages<Format>& stages,
                                         std::byte* row, const BlockRange& range,
                                         typename Format::Sum (&sums)[kTiles][1]) {
  using Stage = ChainStage<Format>;
  constexpr int kBlocks = Stage::kBlocks / kTiles;
  const std::byte* lane_row =
      row + range.begin * Format::kRowBytes + static_cast<int>(threadIdx.x) % 4 * Format::kRunBytes;
#pragma unroll 1
  for (int block = range.begin; block < range.end; block += kBlocks) {
    const std::byte* stage = stages.take();
    const int blocks = min(kBlocks, range.end - block);
    if constexpr (Format::kHasGroups) {
      sum_groups<Format, kTiles>(
          stage, lane_row, group_facts(link.linear.matrix, row) + block / Stage::kBlocksOfGroup,
          blocks / Stage::kBlocksOfGroup, sums);
    } else {
      sum_stage<Format, kTiles>(link, stage, lane_row, blocks, sums);
    }
    stages.give_back();
    lane_row += kBlocks * Format::kRowBytes;
  }
}

template <class Format, int kTiles>
__device__ __forceinline__ void multiply_units(const ChainLink& link, ChainShared& shared,
                                               PartStages<Format>& stages, std::byte* row, int part,
                                               UnitSlot& slot) {
  const BlockRange range = link_part<Format>(link, part);
#pragma unroll 1
  for (int unit = static_cast<int>(blockIdx.x); unit < link.num_units;
       unit += static_cast<int>(gridDim.x)) {
    typename Format::Sum sums[kTiles][1] = {};
    sum_unit<Format, kTiles>(link, stages, row, range, sums);
    wait_phase(&shared.slot_is_free[slot.place], slot.parity ^ 1);
    store_row_part<Format, kTiles>(sums, shared.parts[slot.place] + part * kTiles * kTileRows);
    arrive(&shared.unit_is_here[slot.place]);
    slot.next();
  }
}

template <class Format>
__device__ __forceinline__ void multiply_links(const ChainArgs& args, ChainShared& shared,
                                               std::byte* row, PartStages<Format>& stages,
                                               int part) {
  UnitSlot slot;
#pragma unroll 1
  for (int l = 0; l < args.num_links; ++l) {
    const ChainLink& link = args.links[l];
    const PartRow<Format> part_row(link, part);
    // A block without a unit has no use for the row, and nothing would keep this warp from writing
    // it when others are at the next one.
    const bool has_units = static_cast<int>(blockIdx.x) < link.num_units;
    // The first row is made twice, of what lay there before, so that the second time the
    // instructions are at hand.
#pragma unroll 1
    for (int rehearsals = l == 0 ? 1 : 0; rehearsals >= 0; --rehearsals) {
      if (l > 0) {
        wait_phase(&shared.link_is_over, (l - 1) & 1);
      } else if (rehearsals == 0) {
        wait_for_previous();
      }
      if (has_units) part_row.make(row);
    }
    if (link.unit_tiles == 2) {
      multiply_units<Format, 2>(link, shared, stages, row, part, slot);
    } else {
      multiply_units<Format, 1>(link, shared, stages, row, part, slot);
    }
  }
}

/// What a token's sums are multiplied by.
template <class Format>
__device__ __forceinline__ float token_scale(const ChainLink& link) {
  float scale = 1;
  const int columns = link.linear.matrix.columns;
  const RowSource& source = link.source;
  if constexpr (has_row_scale<Format>)
    scale =
        RowCoder(Format::kOperand == OperandNumber::kInt8, row_largest(source, columns)).scale();
  if constexpr (Format::kHasTokenScales) {
    if (source.norm != nullptr) scale = __fmul_rn(scale, row_norm_factor(source, columns));
  }
  return scale;
}

template <class Format, int kTiles>
__device__ __forceinline__ float finish_units(const ChainLink& link, float scale,
                                              ChainShared& shared, UnitSlot& slot) {
  const int lane = threadIdx.x % 32;
  float largest = 0;
#pragma unroll 1
  for (int unit = static_cast<int>(blockIdx.x); unit < link.num_units;
       unit += static_cast<int>(gridDim.x)) {
    RowFinish<Format, kTiles> finish(link.finish, link.linear.matrix, unit, lane);
    finish.load_old();
    wait_phase(&shared.unit_is_here[slot.place], slot.parity);
    largest = fmaxf(largest, finish.finish(shared.parts[slot.place], scale));
    arrive(&shared.slot_is_free[slot.place]);
    slot.next();
  }
  return largest;
}

template <class Format>
__device__ __forceinline__ void finish_links(const ChainArgs& args, ChainShared& shared) {
  const int lane = threadIdx.x % 32;
  UnitSlot slot;
  wait_for_previous();
  if (blockIdx.x == 0 && lane == 0) {
    for (int i = 1; i < kMostLinks - 1; ++i) args.arrivals[i] = 0;
  }
#pragma unroll 1
  for (int l = 0; l < args.num_links; ++l) {
    const ChainLink& link = args.links[l];
    const float scale = token_scale<Format>(link);
    const float largest = link.unit_tiles == 2 ? finish_units<Format, 2>(link, scale, shared, slot)
                                               : finish_units<Format, 1>(link, scale, shared, slot);
    if (l == args.num_links - 1) return;
    if (lane == 0) {
      if (link.block_largest != nullptr) link.block_largest[blockIdx.x] = largest;
      meet_all_blocks(args.arrivals + l);
      if (l == 1 && blockIdx.x == 0) args.arrivals[0] = 0;
      arrive(&shared.link_is_over);
    }
    __syncwarp();
  }
}

/// Fills the rings of parts `first` and the next one.
template <class Format>
__device__ __forceinline__ void feed_parts(const ChainArgs& args, ChainShared& shared,
                                           std::byte* stages, int first) {
  static_assert(2 * kFeedWarps == kNumParts);
  constexpr int kBytes = kChainRingBytes<Format>;
  PartFeed<Format> one(args, shared.rings[first], stages + first * kBytes, first);
  PartFeed<Format> other(args, shared.rings[first + 1], stages + (first + 1) * kBytes, first + 1);
  bool go_on = one.fill();
  go_on = other.fill() || go_on;
  let_next_start();
  __syncthreads();
  while (go_on) {
    go_on = one.fill();
    go_on = other.fill() || go_on;
  }
}

#endif

template <class Format>
__global__ void __launch_bounds__(kChainThreads, 1)
    chain_kernel(const __grid_constant__ ChainArgs args) {
#if __CUDA_ARCH__ >= 900
  extern __shared__ __align__(128) std::byte chain_memory[];
  auto& shared = *reinterpret_cast<ChainShared*>(chain_memory);
  std::byte* row = chain_memory + kChainSharedBytes;
  std::byte* stages = row + args.row_bytes;
  const int warp = threadIdx.x / 32;
  if (warp > kNumParts) {
    feed_parts<Format>(args, shared, stages, 2 * (warp - kNumParts - 1));
  } else if (warp == kNumParts) {
    if (threadIdx.x % 32 == 0) {
      for (int i = 0; i < kUnitSlots; ++i) {
        init_barrier(&shared.unit_is_here[i], kNumParts * 32);
        init_barrier(&shared.slot_is_free[i], 32);
      }
      init_barrier(&shared.link_is_over, 1);
      publish_barriers();
    }
    let_next_start();
    __syncthreads();
    finish_links<Format>(args, shared);
  } else {
    let_next_start();
    __syncthreads();
    PartStages<Format> part_stages(shared.rings[warp], stages + warp * kChainRingBytes<Format>);
    multiply_links<Format>(args, shared, row, part_stages, warp);
  }
#endif
}

template <class Format>
void launch_chain(const ChainTask& task, StreamHandle stream) {
  // More than comes while blocks wait for each other: then the memory must never wait. With less,
  // what blocks leave each other must not wait behind weights.
  constexpr std::int64_t kMemoryBound = 300'000'000;
  ChainArgs args = {};
  args.num_links = task.num_links;
  args.arrivals = task.scratch->arrivals;
  args.stages_asked = weight_bytes(task) > kMemoryBound ? 2 : 1;
  for (int l = 0; l < task.num_links; ++l) {
    const LinearTask& product = task.links[l];
    ChainLink& link = args.links[l];
    link.linear = linear_args<Format>(product);
    link.source = product.x.source;
    if constexpr (!is_code(Format::kOperand)) {
      constexpr Element kElement =
          Format::kOperand == OperandNumber::kBf16 ? Element::kBf16 : Element::kF16;
      if (product.x.form == RowForm::kPlain)
        link.source = {product.x.values, kElement, product.matrix.columns, nullptr, 0, {}};
    }
    link.unit_tiles = product.epilogue == Epilogue::kSwiGlu ? 2 : 1;
    link.num_blocks = num_blocks(product.matrix);
    link.num_units = product.matrix.rows / (link.unit_tiles * kTileRows);
    link.finish = row_finish_args(product);
    args.row_bytes = std::max(args.row_bytes, chain_row_bytes<Format>(product.matrix));
  }
  const int grid = chain_blocks(task);
  // What a link leaves of its row for the next.
  for (int l = 0; l + 1 < task.num_links; ++l) {
    ChainLink& link = args.links[l];
    RowSource& next = args.links[l + 1].source;
    next.traits = {};
    link.finish.left = {};
    link.finish.next_norm = next.norm;
    if (next.norm != nullptr)
      link.finish.left.squares = next.traits.squares = task.scratch->squares;
    if constexpr (has_row_scale<Format>) {
      link.block_largest = task.scratch->largest[l];
      next.traits.largest = link.block_largest;
      next.traits.num_largest = grid;
    }
  }
  auto* kernel = chain_kernel<Format>;
  const int bytes = kChainSharedBytes + args.row_bytes + kNumParts * kChainRingBytes<Format>;
  launch_together(kernel, dim3(grid), kChainThreads, bytes, stream, args);
}

}  // namespace iol::cuda
