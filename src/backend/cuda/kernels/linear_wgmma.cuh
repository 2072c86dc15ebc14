#pragma once
// x W^T on compute capability 9.0: weights are the left operand of wgmma, tokens its right one. A
// unit of work is up to 192 rows for kTokens tokens, 16 to 128. Two warps fill a ring of stages in
// shared memory (wgmma_ring.cuh), and kGroups warpgroups empty it, each with 64 of the rows: a lane
// takes its weights from the stage as the mma of linear_tile.cuh would, so that every format is
// widened in registers, and multiplies by all tokens. While one group fetches weights, closes a
// part or finishes its rows, the tensor cores work for the others.
//
// Rows of x are dealt (MatrixView, "dealt"): what a lane holds of the weights then meets the same
// numbers of K. Sums are made in the order of linear_tile.cuh and have the same bits.
//
// A block of threads walks over the units that fall to it; the ring is filled for the next unit
// while the last one is finished. Where whole units would leave many blocks idle at the end, blocks
// take equal numbers of parts of K: a block's first unit may be ended by another, its last one
// begun by one (shared_sums.cuh). With few units a cluster of kSplit blocks shares one: each takes
// its parts of K, and they add them, in ascending order, through the cluster's shared memory. Such
// a block takes half of a multiprocessor, so that the next kernel's blocks are there, with their
// first weights, when this one's are over. A block alone needs all shared memory to keep weights on
// their way.
//
// Beyond linear_tile.cuh a Format says
//   kSteps                       multiplications to a block of K, 32 bytes of a row of x each
//   operand(w, step, a)          the lane's weights of a step, as the instruction takes them
//   multiply_all(d, a, b, accumulate)
//   kHasRowScales, kHasTokenScales, scaled(sum, token's, row's)
//                                as value(), with the scales that the format has
//   kHasGroups                   weights in groups along K, see wgmma_groups.cuh
//   kAddsStages                  its instruction keeps fewer bits of a sum than f32 has: every
//                                four blocks are summed from zero and added to the total, not
//                                every part
#include <algorithm>
#include <type_traits>

#include "backend/cuda/kernels/complete_units.cuh"
#include "backend/cuda/kernels/shared_sums.cuh"
#include "backend/cuda/kernels/wgmma.cuh"
#include "backend/cuda/kernels/wgmma_groups.cuh"
#include "backend/cuda/kernels/wgmma_ring.cuh"

namespace iol::cuda {

inline constexpr int kGroupThreads = 128;
inline constexpr int kGroupTiles = 4;
inline constexpr int kAddedBlocks = 4;  // of a sum of kAddsStages

template <class Format, int kGroups, int kTokens, int kSplit>
struct WgmmaBlock {
  static constexpr bool kHasFinisher =
      has_finisher(kTokens, kSplit, kGroups * 64, Format::kHasGroups, Format::kAddsStages);
  static constexpr int kThreads = (kGroups + 1 + (kHasFinisher ? 1 : 0)) * kGroupThreads;
  static constexpr int kAtOnce = kSplit > 1 ? 2 : 1;
  // Of the 80, 128 or 168 registers that a thread has at the start.
  static constexpr int kFillRegisters = kAtOnce == 2 ? 32 : 24;
  static constexpr int kFinishRegisters = 88;
  static constexpr int kMultiplyRegisters = kAtOnce == 2   ? 104
                                            : kGroups == 3 ? 160
                                            : kHasFinisher ? 200
                                                           : 240;
  // Rounds whose weights a lane holds: with two, one is multiplied while the next is fetched.
  static constexpr int kBuffers = kGroups == 3 || kAtOnce == 2 ? 1 : 2;
  static constexpr int kRowBytes = kTokens * kStageBlocks * Format::kRowBytes;  // of a stage
  static constexpr int kTileBytes = kStageBlocks * Format::kTileBytes;
  static constexpr int kOwnParts = kNumParts / kSplit;
  // Sums that a block of a cluster gives to the others.
  static constexpr bool kAddsOwn =
      std::is_same_v<typename Format::Part, int>;  // exact in any order
  static constexpr int kOwnSums = kAddsOwn ? 1 : kOwnParts;
  static_assert(kSplit == 1 || kOwnSums <= 2);
  // Shared memory behind the ring, or, in a cluster, instead of it when all is summed up.
  static constexpr int kGroupSums = (kSplit > 1     ? kOwnSums * kTokens
                                     : kHasFinisher ? kTokens
                                                    : kChunkTokens<kTokens>)*kSumStride;
  static constexpr int kSumBytes = kGroups * kGroupSums * 4;
  static constexpr int kRingBytes =
      (kAtOnce == 2 ? 112 : 226) * 1024 - (kSplit == 1 ? kSumBytes : 0);
  static constexpr int kSharedBytes =
      kSplit == 1 ? kRingBytes + kSumBytes : std::max(kRingBytes, kSumBytes);
  static_assert(kSharedBytes <= (kAtOnce == 2 ? 112 : 226) * 1024);
  static_assert(kRowBytes % 1024 == 0 && kTileBytes % 1024 == 0);
  static_assert(!kHasFinisher || 2 * kMultiplyRegisters + kFillRegisters + kFinishRegisters <= 512);
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

/// What threads without rows do in a cluster: its sums are there, then everybody has read them.
template <int kSplit>
__device__ __forceinline__ void pass_cluster_barriers() {
  if constexpr (kSplit == 1) return;
  cluster_barrier();
  cluster_barrier();
}

/// One of the warpgroups that multiply.
template <class Format, int kTokens, int kBuffers>
struct RingEmptier {
  using Part = typename Format::Part;
  using Sums = Part[kTokens / 2];
  // A round is four multiplications that are begun together.
  static constexpr int kRoundSteps = 4;
  static constexpr int kRoundBlocks = kRoundSteps / Format::kSteps;
  static constexpr int kRounds = kStageBlocks / kRoundBlocks;  // of a stage
  using Operands = std::uint32_t[kRoundSteps][4];              // the lane's weights
  static constexpr int kBoxRows = kTokens * kBoxBytes;
  const WgmmaArgs& args;
  Ring ring;
  std::uint32_t weights;  // where the lane's weights begin in a stage
  std::uint32_t rows;     // the address of the first stage, as a descriptor has it
  int before = -1;        // a stage that may still be multiplied

  /// Begins d += the first kBlocks blocks of round `round` of the stage, with their weights in `a`;
  /// `fresh`: d = those blocks.
  template <int kBlocks>
  __device__ __forceinline__ void begin(int round, Operands& a, Sums& d, bool fresh) const {
    const std::uint32_t stage = ring.stage * args.stage_bytes;
    const std::byte* own =
        ring.memory + (weights + stage + round * kRoundBlocks * Format::kTileBytes);
    const std::uint32_t descriptor = rows + stage / 16;
#pragma unroll
    for (int block = 0; block < kBlocks; ++block) {
      const auto w = Format::shared_weights(own + block * Format::kTileBytes);
#pragma unroll
      for (int i = 0; i < Format::kSteps; ++i) Format::operand(w, i, a[block * Format::kSteps + i]);
    }
    begin_wgmma();
#pragma unroll
    for (int i = 0; i < kBlocks * Format::kSteps; ++i)
      Format::multiply_all(d, a[i],
                           operand_descriptor(descriptor + (round * kBoxRows + i * 32) / 16),
                           i > 0 || !fresh);
    commit_wgmma();
  }
  __device__ __forceinline__ void release() {
    if (before >= 0) arrive(ring.empty + before);
    before = -1;
  }
  /// Waits until the round before, or with one buffer this one, is over, which ends the use of its
  /// stage when this is a stage's first round.
  __device__ __forceinline__ void wait_round(bool is_first) {
    wait_wgmma<kBuffers - 1>();
    if (is_first && kBuffers > 1) release();
  }
  __device__ __forceinline__ void end_stage() {
    before = ring.stage;
    if (kBuffers == 1) release();
    ring.advance();
  }
  /// A whole stage.
  __device__ __forceinline__ void multiply_stage(Operands (&a)[kBuffers], int which, Sums& d,
                                                 bool fresh) {
    ring.wait_full();
    begin<kRoundBlocks>(0, a[kRounds == 1 ? which % kBuffers : 0], d, fresh);
    wait_round(true);
    if constexpr (kRounds > 1) {
      begin<kRoundBlocks>(1, a[kBuffers - 1], d, false);
      wait_round(false);
    }
    end_stage();
  }

  /// d = the sum over blocks [first, end) of K, one at least, for the group's rows.
  __device__ __forceinline__ void sum_blocks(int first, int end, Sums& d) {
    Operands a[kBuffers];
    int block = first;
#pragma unroll 1
    for (; block + 2 * kStageBlocks <= end; block += 2 * kStageBlocks) {
      multiply_stage(a, 0, d, block == first);
      multiply_stage(a, 1, d, false);
    }
    if (block + kStageBlocks <= end) {
      multiply_stage(a, 0, d, block == first);
      block += kStageBlocks;
    }
    if (block < end) {
      ring.wait_full();
      begin<1>(0, a[kBuffers - 1], d, block == first);
      wait_round(true);
      end_stage();
    }
    wait_wgmma<0>();
    release();
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

template <class Format, int kTokens, int kBuffers>
using EmptierOf = std::conditional_t<Format::kHasGroups, GroupEmptier<Format, kTokens>,
                                     RingEmptier<Format, kTokens, kBuffers>>;

#endif

template <class Format, int kGroups, int kTokens, int kSplit>
__global__ void __launch_bounds__(WgmmaBlock<Format, kGroups, kTokens, kSplit>::kThreads,
                                  WgmmaBlock<Format, kGroups, kTokens, kSplit>::kAtOnce)
    linear_wgmma_kernel(const __grid_constant__ WgmmaArgsOf<Format> args) {
#if defined(IOL_HAS_WGMMA)
  using Block = WgmmaBlock<Format, kGroups, kTokens, kSplit>;
  using Part = typename Format::Part;
  extern __shared__ __align__(1024) std::byte memory[];
  __shared__ std::uint64_t full[kMostStages];
  __shared__ std::uint64_t empty[kMostStages];
  __shared__ std::uint64_t sums_there[kGroups];
  __shared__ std::uint64_t sums_free[kGroups];
  Ring ring = {memory, full, empty, args.stages};
  const int groups = (args.tiles + kGroupTiles - 1) / kGroupTiles;  // that have rows
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < args.stages; ++stage) {
      init_barrier(full + stage, 2);
      init_barrier(empty + stage, groups * kGroupThreads);
    }
    if constexpr (Block::kHasFinisher) {
      for (int group = 0; group < kGroups; ++group) {
        init_barrier(sums_there + group, kGroupThreads);
        init_barrier(sums_free + group, kGroupThreads);
      }
    }
    publish_barriers();
  }
  __syncthreads();
  let_next_start();
  const Share share = Share::of<kSplit>(args);
  const int group = threadIdx.x / kGroupThreads;
  if (group == kGroups) {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(Block::kFillRegisters));
    RingFiller<Format, kTokens, kSplit> filler = {args, ring, share};
    fill_ring(filler);
    __syncwarp();
    pass_cluster_barriers<kSplit>();
    return;
  }
  const Handover handover = {reinterpret_cast<float*>(memory + Block::kRingBytes), sums_there,
                             sums_free};
  if constexpr (Block::kHasFinisher) {
    if (group > kGroups) {
      asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(Block::kFinishRegisters));
      wait_for_previous();
      const Completer<Format, kTokens, Block::kGroupSums> completer = {args, handover};
      completer.finish_units(groups);
      return;
    }
  }
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(Block::kMultiplyRegisters));
  if (group >= groups) {
    pass_cluster_barriers<kSplit>();
    return;
  }
  wait_for_previous();
  const int tile = min(static_cast<int>(threadIdx.x) / 32, args.tiles - 1);
  EmptierOf<Format, kTokens, Block::kBuffers> emptier = {
      args, ring, Block::kRowBytes + tile * Block::kTileBytes + threadIdx.x % 32 * 16,
      shared_address(memory) / 16};
  if constexpr (Format::kHasGroups) emptier.coming = share.stages<kSplit>(args);
  if constexpr (kSplit == 1) {
    float* sums = handover.sums + group * Block::kGroupSums;
    int parity = 1;  // of the phase in which the group's place for sums becomes free
    const SharedSums<kTokens / 2> shared = {args.exchange};
    const int num_pieces = share.num_pieces;
#pragma unroll 1
    for (int i = 0; i < num_pieces; ++i) {
      const Piece piece = Share::of<kSplit>(args).template piece<kSplit>(args, i);
      // Without a first value the compiler takes d's last one for used and keeps it until here.
      Part d[kTokens / 2] = {};
      Part total[kTokens / 2] = {};
      const int first_token = piece.token_unit * kTokens;
      const float token_scale = own_token_scale<Format>(args.linear, first_token);
      if constexpr (kTokens <= 64) {
        const GroupRows own =
            group_rows(args.linear, piece.row_unit * args.tiles, args.tiles, group);
        Finisher<Format>{args.linear, own, first_token}.prefetch();
      }
      if (piece.first_part > 0) shared.take(blockIdx.x - args.token_units, group, total);
#pragma unroll 1
      for (int part = piece.first_part; part < piece.end_part; ++part)
        emptier.add_part(part, d, total);
      if (piece.end_part < kNumParts) {
        shared.leave(blockIdx.x, group, total);
        continue;
      }
      if constexpr (Block::kHasFinisher) {
        wait_phase(handover.free + group, parity);
        parity ^= 1;
        if (i + 1 < num_pieces) {
          store_chunk<kTokens / 2>(total, 0, sums);
          arrive(handover.there + group);
          continue;
        }
      }
      // Once more, so that no register keeps it meanwhile.
      const Piece own = Share::of<kSplit>(args).template piece<kSplit>(args, i);
      const GroupRows rows = group_rows(args.linear, own.row_unit * args.tiles, args.tiles, group);
      finish_group<Format, kTokens>({args.linear, rows, own.token_unit * kTokens}, total,
                                    token_scale, sums);
    }
  } else {
    const Piece piece = share.piece<kSplit>(args, 0);
    const int first_part = piece.first_part;
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
    auto* sums = reinterpret_cast<float*>(memory) + group * Block::kOwnSums * kTokens * kSumStride;
    store_chunk<kTokens / 2>(first, 0, sums);
    if (Block::kOwnSums == 2) store_chunk<kTokens / 2>(d, 0, sums + kTokens * kSumStride);
    constexpr int kOwnTokens = kTokens / kSplit;
    constexpr int kStride = Finisher<Format>::kTokenStride;
    const int begin = static_cast<int>(blockIdx.x) % kSplit * kOwnTokens;
    const int first_token = piece.token_unit * kTokens;
    const GroupRows rows = group_rows(args.linear, piece.row_unit * args.tiles, args.tiles, group);
    const Finisher<Format> finisher = {args.linear, rows, first_token};
    float4 old[(kOwnTokens + kStride - 1) / kStride] = {};
    finisher.load_old(begin, begin + kOwnTokens, old);
    cluster_barrier();
    const ClusterSums<Format, kSplit, Block::kOwnSums, kTokens> all = {{args.linear, first_token},
                                                                       sums};
    if (finisher.is_plain()) {
      finisher.finish_plain(begin, begin + kOwnTokens, old, all);
    } else {
      finisher.finish_other(begin, begin + kOwnTokens, all);
    }
    cluster_barrier();  // nobody leaves while its memory is read
  }
#endif
}

/// What a stage has besides weights and rows of x.
template <int kTokens>
void add_groups(const LinearTask& task, GroupedWgmmaArgs& args) {
  constexpr int kStageColumns = kStageBlocks * 64;
  constexpr int kScaleWords = kTileRows * 4 / kWeightWordBytes;  // of a tile and group
  constexpr int kZeroWords = kTileRows / kWeightWordBytes;
  const MatrixView& matrix = task.matrix;
  const int size = matrix.padded_group;
  args.group_steps = size / 32;
  args.step_groups = inverse_of(args.group_steps);
  args.stage_groups = size % kStageColumns == 0 ? 1 : size < 64 ? 4 : 2;
  const int tiles = matrix.rows / kTileRows;
  const int groups = matrix.num_groups;
  args.scales = word_map(matrix.scales, groups * kScaleWords, tiles,
                         args.stage_groups * kScaleWords, args.tiles);
  args.zeros = word_map(matrix.zeros, groups * kZeroWords, tiles, args.stage_groups * kZeroWords,
                        args.tiles);
  args.x_scales = word_map(task.x.scales, dealt_scales(task.num_tokens) * 4 / kWeightWordBytes,
                           groups, kTokens * 4 / kWeightWordBytes, args.stage_groups);
  // Boxes begin at multiples of 128 bytes, swizzled ones, the next stage's, of 1,024.
  const auto aligned = [](int bytes, int to) { return (bytes + to - 1) / to * to; };
  args.scales_at = args.stage_bytes;
  args.zeros_at = args.scales_at + args.tiles * args.stage_groups * kTileRows * 4;
  args.x_scales_at = aligned(args.zeros_at + args.tiles * args.stage_groups * kTileRows, 128);
  args.stage_bytes = aligned(args.x_scales_at + args.stage_groups * kTokens * 4, 1024);
}

/// What blocks of that kind need to know of a product.
template <class Format, class Block, int kTokens>
WgmmaArgsOf<Format> wgmma_args(const LinearTask& task, const WideShape& shape) {
  const int rows = shape.rows;
  WgmmaArgsOf<Format> args;
  args.linear = linear_args<Format>(task);
  for (int part = 0; part <= kNumParts; ++part)
    args.part_begin[part] =
        part == 0 ? 0 : std::max(args.part_begin[part - 1], part_blocks(task.matrix, part - 1).end);
  args.tiles = rows / kTileRows;
  args.token_units = (task.num_tokens + kTokens - 1) / kTokens;
  args.row_units = (task.matrix.rows + rows - 1) / rows;
  args.units = args.token_units * args.row_units;
  args.sharers = shape.sharers;
  args.exchange = task.exchange;
  args.stage_bytes = Block::kRowBytes + args.tiles * Block::kTileBytes;
  if constexpr (Format::kHasGroups) add_groups<kTokens>(task, args);
  args.stages = std::min(Block::kRingBytes / args.stage_bytes, kMostStages);
  args.weights = word_map(
      args.linear.weights, num_blocks(task.matrix) * (Format::kTileBytes / kWeightWordBytes),
      task.matrix.rows / kTileRows, Block::kTileBytes / kWeightWordBytes, args.tiles);
  args.x =
      row_map(args.linear.x, static_cast<int>(args.linear.x_row_bytes), task.num_tokens, kTokens);
  return args;
}

template <class Format, int kGroups, int kTokens, int kSplit>
void launch_wgmma(const LinearTask& task, const WideShape& shape, StreamHandle stream) {
  using Block = WgmmaBlock<Format, kGroups, kTokens, kSplit>;
  const int sharers = shape.sharers;
  auto* kernel = linear_wgmma_kernel<Format, kGroups, kTokens, kSplit>;
  const auto args = wgmma_args<Format, Block, kTokens>(task, shape);
  const int blocks = kSplit > 1    ? args.units * kSplit
                     : sharers > 0 ? args.token_units * sharers
                                   : std::min(args.units, multiprocessors());
  launch_clusters(kernel, dim3(blocks), kSplit, Block::kThreads, Block::kSharedBytes, stream, args);
}

/// Blocks that meet in device memory: linear_apart.cuh.
template <class Format, int kTokens>
void launch_apart(const LinearTask& task, const WideShape& shape, StreamHandle stream);

template <class Format, int kTokens>
void launch_few(const WideShape& shape, const LinearTask& task, StreamHandle stream) {
  if constexpr (!Format::kAddsStages && !Format::kHasGroups) {
    if (shape.is_apart) return launch_apart<Format, kTokens>(task, shape, stream);
  }
  if constexpr (!Format::kAddsStages) {
    if (shape.split == 8) return launch_wgmma<Format, 2, kTokens, 8>(task, shape, stream);
    if constexpr (kTokens < 64 || (Format::kSteps == 2 && !Format::kHasGroups)) {  // has_shape()
      if (shape.split == 4) return launch_wgmma<Format, 2, kTokens, 4>(task, shape, stream);
    }
  }
  if constexpr (Format::kHasGroups && kTokens == 64) {
    if (shape.rows > 128) return launch_wgmma<Format, 3, kTokens, 1>(task, shape, stream);
  }
  launch_wgmma<Format, 2, kTokens, 1>(task, shape, stream);
}

/// Units of 128 tokens.
template <class Format>
void launch_many(const LinearTask& task, const WideShape& shape, StreamHandle stream) {
  if constexpr (Format::kSteps == 2 && !Format::kHasGroups) {
    if (shape.rows > 128) return launch_wgmma<Format, 3, 128, 1>(task, shape, stream);
  }
  launch_wgmma<Format, 2, 128, 1>(task, shape, stream);
}

}  // namespace iol::cuda
