#pragma once
// x W^T on compute capability 9.0: weights are the left operand of wgmma, tokens its right one. A
// unit of work is up to 192 rows for kTokens tokens, 16 to 128. One warp fills a ring of stages in
// shared memory (wgmma_ring.cuh), and kGroups warpgroups empty it, each with 64 of the rows: a lane
// takes its weights from the stage as the mma of linear_tile.cuh would, so that every format is
// widened in registers, and multiplies by all tokens. While one group fetches weights, closes a
// part or finishes its rows, the tensor cores work for the others.
//
// Rows of x are dealt (MatrixView, "dealt"): what a lane holds of the weights then meets the same
// numbers of K. Sums are made in the order of linear_tile.cuh and have the same bits.
//
// A block of threads walks over the units that fall to it; the ring is filled for the next unit
// while the last one is finished. With few units a cluster of kSplit blocks shares one: each takes
// its parts of K, and they add them, in ascending order, through the cluster's shared memory. Up to
// 64 tokens such a block takes half of a multiprocessor, so that the next kernel's blocks are
// there, with their first weights, when this one's are over. A block alone needs all shared memory
// to keep weights on their way.
//
// Beyond linear_tile.cuh a Format says
//   kSteps                       multiplications to a block of K, 32 bytes of a row of x each
//   operand(w, step, a)          the lane's weights of a step, as the instruction takes them
//   multiply_all(d, a, b, accumulate)
//   kAddsStages                  its instruction keeps fewer bits of a sum than f32 has: every
//                                four blocks are summed from zero and added to the total, not
//                                every part
#include <algorithm>
#include <type_traits>

#include "backend/cuda/kernels/finish_tokens.cuh"
#include "backend/cuda/kernels/wgmma.cuh"
#include "backend/cuda/kernels/wgmma_ring.cuh"

namespace iol::cuda {

inline constexpr int kGroupThreads = 128;
inline constexpr int kGroupTiles = 4;
inline constexpr int kMostHalfTokens = 64;  // of a block that takes half of a multiprocessor
inline constexpr int kAddedBlocks = 4;      // of a sum of kAddsStages

template <class Format, int kGroups, int kTokens, int kSplit>
struct WgmmaBlock {
  static constexpr int kThreads = (kGroups + 1) * kGroupThreads;
  static constexpr int kAtOnce =
      kSplit > 1 && kTokens <= kMostHalfTokens && !Format::kAddsStages ? 2 : 1;
  // Of the 80, 128 or 168 registers that a thread has at the start.
  static constexpr int kFillRegisters = kAtOnce == 2 ? 32 : 24;
  static constexpr int kMultiplyRegisters = kAtOnce == 2 ? 104 : kGroups == 3 ? 160 : 240;
  // Blocks of K whose weights a lane holds: with two, one is multiplied while the next is fetched.
  static constexpr int kBuffers = kGroups == 3 || kAtOnce == 2 ? 1 : 2;
  static constexpr int kRowBytes = kTokens * kStageBlocks * Format::kRowBytes;  // of a stage
  static constexpr int kTileBytes = kStageBlocks * Format::kTileBytes;
  static constexpr int kOwnParts = kNumParts / kSplit;
  // Sums that a block of a cluster gives to the others.
  static constexpr bool kAddsOwn =
      Format::kAddsStages || std::is_same_v<typename Format::Part, int>;  // in any order
  static constexpr int kOwnSums = kAddsOwn ? 1 : kOwnParts;
  static_assert(kSplit == 1 || kOwnSums <= 2);
  // Shared memory behind the ring, or, in a cluster, instead of it when all is summed up.
  static constexpr int kSumBytes = kSplit == 1 ? kGroups * kChunkTokens<kTokens> * kSumStride * 4
                                               : kGroups * kOwnSums * kTokens * kSumStride * 4;
  static constexpr int kRingBytes =
      (kAtOnce == 2 ? 112 : 226) * 1024 - (kSplit == 1 ? kSumBytes : 0);
  static constexpr int kSharedBytes =
      kSplit == 1 ? kRingBytes + kSumBytes : std::max(kRingBytes, kSumBytes);
  static_assert(kSharedBytes <= (kAtOnce == 2 ? 112 : 226) * 1024);
  static_assert(kRowBytes % 1024 == 0 && kTileBytes % 1024 == 0);
};

#if defined(IOL_HAS_WGMMA)

template <int kSize, class Part>
__device__ __forceinline__ void add_sums(Part (&total)[kSize], const Part (&d)[kSize]) {
#pragma unroll
  for (int i = 0; i < kSize; ++i) total[i] += d[i];
}
template <int kSize, class Part>
__device__ __forceinline__ void clear_sums(Part (&d)[kSize]) {
#pragma unroll
  for (int i = 0; i < kSize; ++i) d[i] = 0;
}

/// One of the warpgroups that multiply.
template <class Format, int kTokens, int kBuffers>
struct RingEmptier {
  using Part = typename Format::Part;
  using Sums = Part[kTokens / 2];
  using Operands = std::uint32_t[Format::kSteps][4];  // the lane's weights of a block of K
  static constexpr int kRowBytes = kTokens * kStageBlocks * Format::kRowBytes;
  const WgmmaArgs& args;
  Ring ring;
  int weights;  // where the lane's weights begin in a stage

  /// Begins d += block `block` of the stage, with its weights in `a`; `fresh`: d = that block.
  __device__ __forceinline__ void begin(int block, Operands& a, Sums& d, bool fresh) const {
    const std::byte* stage = ring.at();
    const auto own = Format::shared_weights(stage + weights + block * Format::kTileBytes);
#pragma unroll
    for (int i = 0; i < Format::kSteps; ++i) Format::operand(own, i, a[i]);
    begin_wgmma();
#pragma unroll
    for (int i = 0; i < Format::kSteps; ++i) {
      const int step = block * Format::kSteps + i;
      Format::multiply_all(d, a[i],
                           operand_descriptor(shared_address(
                               stage + step / 4 * (kTokens * kBoxBytes) + step % 4 * 32)),
                           i > 0 || !fresh);
    }
    commit_wgmma();
  }
  __device__ __forceinline__ void release(int stage) const {
    if (threadIdx.x % 32 == 0) arrive(ring.empty + stage);
  }

  /// d = the sum over blocks [first, end) of K, one at least, for the group's rows.
  __device__ __forceinline__ void sum_blocks(int first, int end, Sums& d) {
    Operands a[kBuffers];
    int before = -1;  // a stage that may still be multiplied
    int block = first;
#pragma unroll 1
    for (; block + 1 < end; block += kStageBlocks) {
      ring.wait_full();
      begin(0, a[0], d, block == first);
      wait_wgmma<kBuffers - 1>();
      if (before >= 0) release(before);
      begin(1, a[kBuffers - 1], d, false);
      wait_wgmma<kBuffers - 1>();
      before = ring.stage;
      if (kBuffers == 1) {
        release(before);
        before = -1;
      }
      ring.advance();
    }
    if (block < end) {
      ring.wait_full();
      begin(0, a[0], d, block == first);
      wait_wgmma<kBuffers - 1>();
      if (before >= 0) release(before);
      before = ring.stage;
      ring.advance();
    }
    wait_wgmma<0>();
    if (before >= 0) release(before);
  }

  /// d = the sum over part `part`; false when it is empty.
  __device__ __forceinline__ bool sum_part(int part, Sums& d) {
    const int first = args.part_begin[part];
    const int end = args.part_begin[part + 1];
    if (first < end) sum_blocks(first, end, d);
    return first < end;
  }
  /// total += the sum over part `part` of K.
  __device__ __forceinline__ void add_part(int part, Sums& d, Sums& total) {
    if constexpr (Format::kAddsStages) {
      const int end = args.part_begin[part + 1];
#pragma unroll 1
      for (int block = args.part_begin[part]; block < end; block += kAddedBlocks) {
        sum_blocks(block, min(block + kAddedBlocks, end), d);
        add_sums(total, d);
      }
    } else if (sum_part(part, d)) {
      add_sums(total, d);
    }
  }
};

#endif

template <class Format, int kGroups, int kTokens, int kSplit>
__global__ void __launch_bounds__(WgmmaBlock<Format, kGroups, kTokens, kSplit>::kThreads,
                                  WgmmaBlock<Format, kGroups, kTokens, kSplit>::kAtOnce)
    linear_wgmma_kernel(const __grid_constant__ WgmmaArgs args) {
#if defined(IOL_HAS_WGMMA)
  using Block = WgmmaBlock<Format, kGroups, kTokens, kSplit>;
  using Part = typename Format::Part;
  extern __shared__ __align__(1024) std::byte memory[];
  __shared__ std::uint64_t full[kMostStages];
  __shared__ std::uint64_t empty[kMostStages];
  Ring ring = {memory, full, empty, args.stages, args.stage_bytes};
  const int groups = (args.tiles + kGroupTiles - 1) / kGroupTiles;  // that have rows
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < args.stages; ++stage) {
      init_barrier(full + stage, 1);
      init_barrier(empty + stage, groups * (kGroupThreads / 32));
    }
    publish_barriers();
  }
  __syncthreads();
  let_next_start();
  const int rank = blockIdx.x % kSplit;
  const int first_unit = blockIdx.x / kSplit;
  const int stride = gridDim.x / kSplit;
  const int first_part = rank * Block::kOwnParts;
  const int group = threadIdx.x / kGroupThreads;
  if (group == kGroups) {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(Block::kFillRegisters));
    if (threadIdx.x == kGroups * kGroupThreads)
      RingFiller<Format, kTokens>{args, ring}.fill(
          StageWalk(args, first_part, first_part + Block::kOwnParts, first_unit, stride));
    if constexpr (kSplit > 1) {
      __syncwarp();
      cluster_barrier();
      cluster_barrier();
    }
    return;
  }
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(Block::kMultiplyRegisters));
  if (group >= groups) {
    if constexpr (kSplit > 1) {
      cluster_barrier();
      cluster_barrier();
    }
    return;
  }
  wait_for_previous();
  const int tile = min(static_cast<int>(threadIdx.x) / 32, args.tiles - 1);
  RingEmptier<Format, kTokens, Block::kBuffers> emptier = {
      args, ring,
      Block::kRowBytes + tile * Block::kTileBytes + static_cast<int>(threadIdx.x) % 32 * 16};
  if constexpr (kSplit == 1) {
    constexpr int kChunk = kChunkTokens<kTokens>;
    auto* sums = reinterpret_cast<float*>(memory + Block::kRingBytes) + group * kChunk * kSumStride;
#pragma unroll 1
    for (int unit = first_unit; unit < args.units; unit += stride) {
      // Without a first value the compiler takes d's last one for used and keeps it until here.
      Part d[kTokens / 2] = {};
      Part total[kTokens / 2] = {};
#pragma unroll 1
      for (int part = 0; part < kNumParts; ++part) emptier.add_part(part, d, total);
      finish_group<Format, kTokens>(
          {args.linear,
           group_rows(args.linear, unit / args.token_units * args.tiles, args.tiles, group),
           unit % args.token_units * kTokens},
          total, sums);
    }
  } else {
    Part first[kTokens / 2] = {};  // of the block's parts
    Part d[kTokens / 2] = {};
    if constexpr (Block::kAddsOwn) {
#pragma unroll 1
      for (int i = 0; i < Block::kOwnParts; ++i) emptier.add_part(first_part + i, d, first);
    } else {
      if (emptier.sum_part(first_part, d)) add_sums(first, d);
      if (Block::kOwnParts == 1 || !emptier.sum_part(first_part + 1, d)) clear_sums(d);
    }
    named_barrier(1, groups * kGroupThreads);  // the stages are empty
    auto* sums =
        reinterpret_cast<float*>(memory) + group * Block::kOwnSums * kTokens * kSumStride;
    store_chunk<kTokens / 2>(first, 0, sums);
    if (Block::kOwnSums == 2) store_chunk<kTokens / 2>(d, 0, sums + kTokens * kSumStride);
    constexpr int kShare = kTokens / kSplit;
    constexpr int kStride = Finisher<Format>::kTokenStride;
    const int begin = rank * kShare;
    const Finisher<Format> finisher = {
        args.linear,
        group_rows(args.linear, first_unit / args.token_units * args.tiles, args.tiles, group),
        first_unit % args.token_units * kTokens};
    float4 old[(kShare + kStride - 1) / kStride] = {};
    finisher.load_old(begin, begin + kShare, old);
    cluster_barrier();
    const auto read = [&](int token, int row, Part(&sum)[4]) {
      for (Part& one : sum) one = 0;
#pragma unroll
      for (int i = 0; i < kSplit * Block::kOwnSums; ++i) {
        const float4 v =
            load_four_from(sums + (i % Block::kOwnSums * kTokens + token) * kSumStride + row,
                           i / Block::kOwnSums);
        sum[0] += Format::part(v.x), sum[1] += Format::part(v.y);
        sum[2] += Format::part(v.z), sum[3] += Format::part(v.w);
      }
    };
    if (finisher.is_plain()) {
      finisher.finish_plain(begin, begin + kShare, old, read);
    } else {
      finisher.finish_other(begin, begin + kShare, read);
    }
    cluster_barrier();  // nobody leaves while its memory is read
  }
#endif
}

template <class Format, int kGroups, int kTokens, int kSplit>
void launch_wgmma(const LinearTask& task, int rows, StreamHandle stream) {
  using Block = WgmmaBlock<Format, kGroups, kTokens, kSplit>;
  auto* kernel = linear_wgmma_kernel<Format, kGroups, kTokens, kSplit>;
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, Block::kSharedBytes);
  WgmmaArgs args;
  args.linear = linear_args<Format>(task);
  for (int part = 0; part <= kNumParts; ++part)
    args.part_begin[part] =
        part == 0 ? 0 : std::max(args.part_begin[part - 1], part_blocks(task.matrix, part - 1).end);
  args.tiles = rows / kTileRows;
  args.token_units = (task.num_tokens + kTokens - 1) / kTokens;
  args.units = args.token_units * ((task.matrix.rows + rows - 1) / rows);
  args.stage_bytes = Block::kRowBytes + args.tiles * Block::kTileBytes;
  args.stages = std::min(Block::kRingBytes / args.stage_bytes, kMostStages);
  args.weights = word_map(args.linear.weights,
                          num_blocks(task.matrix) * (Format::kTileBytes / kWeightWordBytes),
                          task.matrix.rows / kTileRows, Block::kTileBytes / kWeightWordBytes,
                          args.tiles);
  args.x = row_map(args.linear.x, static_cast<int>(args.linear.x_row_bytes), task.num_tokens,
                   kTokens);
  const int blocks = kSplit > 1 ? args.units * kSplit : std::min(args.units, multiprocessors());
  launch_clusters(kernel, dim3(blocks), kSplit, Block::kThreads, Block::kSharedBytes, stream, args);
}

template <class Format, int kTokens>
void launch_few(const WideShape& shape, const LinearTask& task, StreamHandle stream) {
  if (shape.split == 1) return launch_wgmma<Format, 2, kTokens, 1>(task, shape.rows, stream);
  if constexpr (!(kTokens == 64 && Format::kSteps == 4)) {  // which has no registers left for it
    if (shape.split == 4) return launch_wgmma<Format, 2, kTokens, 4>(task, shape.rows, stream);
  }
  launch_wgmma<Format, 2, kTokens, 8>(task, shape.rows, stream);
}

/// In the shape that the task asks for, else in the best for its size.
template <class Format>
void launch_wgmma(const LinearTask& task, StreamHandle stream) {
  const WideShape shape = task.shape.tokens != 0 ? task.shape : wide_shape(task);
  if constexpr (!Format::kAddsStages) {  // few tokens have exact sums
    if (shape.tokens == 16) return launch_few<Format, 16>(shape, task, stream);
    if (shape.tokens == 32) return launch_few<Format, 32>(shape, task, stream);
  }
  if (shape.tokens == 64) return launch_few<Format, 64>(shape, task, stream);
  if constexpr (Format::kSteps == 2) {
    if (shape.rows > 128) {
      return shape.split == 1 ? launch_wgmma<Format, 3, 128, 1>(task, shape.rows, stream)
                              : launch_wgmma<Format, 3, 128, 4>(task, shape.rows, stream);
    }
  }
  shape.split == 1 ? launch_wgmma<Format, 2, 128, 1>(task, shape.rows, stream)
                   : launch_wgmma<Format, 2, 128, 4>(task, shape.rows, stream);
}

}  // namespace iol::cuda
