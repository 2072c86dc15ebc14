#pragma once
// x W^T on compute capability 9.0: weights are the left operand of wgmma, tokens its right one. A
// block makes 128 rows for kTokens tokens, 16 to 128. One warp fills a ring of stages in shared
// memory - packed weights and rows of x by tensor copies - and two warpgroups empty it, each with
// 64 of the rows: a lane takes its weights from the stage as the mma of linear_tile.cuh would, so
// that every format is widened in registers, and multiplies by all tokens. While one group fetches
// weights or closes a part, the tensor cores work for the other.
//
// Rows of x are dealt (MatrixView, "dealt"): what a lane holds of the weights then meets the same
// numbers of K. Sums are made in the order of linear_tile.cuh and have the same bits.
//
// With few tiles a cluster of kSplit blocks shares one: each takes its parts of K, and they add
// them, in ascending order, through the cluster's shared memory. Up to 64 tokens such a block takes
// half of a multiprocessor, so that the next kernel's blocks are there, with their first weights,
// when this one's are over. A block alone needs all shared memory to keep weights on their way.
//
// Beyond linear_tile.cuh a Format says
//   kSteps                       multiplications to a block of K, 32 bytes of a row of x each
//   operand(w, step, a)          the lane's weights of a step, as the instruction takes them
//   multiply_all(d, a, b, accumulate)
//   kAddsStages                  its instruction keeps fewer bits of a sum than f32 has: every
//                                stage is summed from zero and added to the total, not every part
#include <type_traits>

#include "backend/cuda/kernels/copy_engine.cuh"
#include "backend/cuda/kernels/finish_tokens.cuh"
#include "backend/cuda/kernels/row_map.h"
#include "backend/cuda/kernels/wgmma.cuh"

namespace iol::cuda {

inline constexpr int kGroupThreads = 128;
inline constexpr int kMultiplyThreads = 2 * kGroupThreads;
inline constexpr int kWgmmaThreads = kMultiplyThreads + kGroupThreads;
inline constexpr int kWgmmaTiles = 8;  // of 16 rows
inline constexpr int kWgmmaRows = kWgmmaTiles * kTileRows;
inline constexpr int kStageBlocks = 2;      // of K
inline constexpr int kBoxBytes = 128;       // of a row of x
inline constexpr int kWeightWordBytes = 8;  // so that a box may have all of a stage
inline constexpr int kMostHalfTokens = 64;  // of a block that takes half of a multiprocessor
/// Of a block's sums, [token][row]: padded so that a warp's stores meet no bank twice.
inline constexpr int kSumStride = kWgmmaRows + 4;

struct WgmmaArgs {
  LinearArgs linear;
  CUtensorMap weights;  // a row of words to a tile of 16 rows
  CUtensorMap x;        // [num_tokens] rows of bytes
};

template <class Format, int kTokens, int kSplit>
struct WgmmaStage {
  static constexpr int kTileBytes = kStageBlocks * Format::kTileBytes;
  static constexpr int kWeightBytes = kWgmmaTiles * kTileBytes;
  static constexpr int kRowBytes = kStageBlocks * Format::kRowBytes;
  static constexpr int kBytes = kWeightBytes + kTokens * kRowBytes;
  static constexpr int kBlocksAtOnce =
      kSplit > 1 && kTokens <= kMostHalfTokens && !Format::kAddsStages ? 2 : 1;
  // Of 80 or 168 registers that a thread has at the start.
  static constexpr int kFillRegisters = kBlocksAtOnce == 2 ? 32 : 24;
  static constexpr int kMultiplyRegisters = kBlocksAtOnce == 2 ? 104 : 240;
  static constexpr int kStages = (kBlocksAtOnce == 2 ? 112 : 220) * 1024 / kBytes;
  static_assert(kRowBytes % kBoxBytes == 0 && kBytes % 1024 == 0);
};

#if defined(IOL_HAS_WGMMA)

/// The stages in the order in which they are filled and emptied.
struct Ring {
  std::byte* memory;
  std::uint64_t* full;
  std::uint64_t* empty;
  int stage = 0;
  int parity = 0;
  template <class Stage>
  __device__ __forceinline__ void advance() {
    if (++stage < Stage::kStages) return;
    stage = 0;
    parity ^= 1;
  }
};

/// The stages of some parts of K, one after the other; none crosses a part's end.
struct StageWalk {
  const MatrixView& matrix;
  int part;
  int last_part;  // one behind the last
  int block;      // first of the stage
  int end;        // of the part
  int count;      // blocks of the stage

  __device__ __forceinline__ StageWalk(const MatrixView& view, int first, int last)
      : matrix(view), part(first - 1), last_part(last), block(0), end(0), count(0) {}
  /// Goes to the next stage; false when there is none.
  __device__ __forceinline__ bool next() {
    block += count;
    while (block >= end) {
      if (++part >= last_part) return false;
      const BlockRange range = part_blocks(matrix, part);
      block = range.begin;
      end = range.end;
    }
    count = min(kStageBlocks, end - block);
    return true;
  }
};

/// One thread fills the ring. A stage's copies bring whole boxes, also where the part or the matrix
/// ends within: blocks that are too much aren't multiplied, rows and tokens are zeros.
template <class Format, int kTokens, int kSplit>
struct RingFiller {
  using Stage = WgmmaStage<Format, kTokens, kSplit>;
  const WgmmaArgs& args;
  Ring ring;
  int first_tile;
  int first_token;

  __device__ __forceinline__ std::byte* stage() const {
    return ring.memory + ring.stage * Stage::kBytes;
  }
  __device__ __forceinline__ void bring_weights(const StageWalk& walk) const {
    std::uint64_t* full = ring.full + ring.stage;
    arrive_expecting(full, Stage::kBytes);
    copy_box(stage(), &args.weights, walk.block * (Format::kTileBytes / kWeightWordBytes),
             first_tile, full);
  }
  __device__ __forceinline__ void bring_rows(const StageWalk& walk) const {
#pragma unroll
    for (int box = 0; box < Stage::kRowBytes / kBoxBytes; ++box)
      copy_box(stage() + Stage::kWeightBytes + box * kTokens * kBoxBytes, &args.x,
               walk.block * Format::kRowBytes + box * kBoxBytes, first_token,
               ring.full + ring.stage);
  }
  /// Weights come before the kernel in front of this one is over, rows of x behind it.
  __device__ __forceinline__ void fill(int first_part, int last_part) {
    prefetch_map(&args.x);
    const Ring start = ring;
    StageWalk early(args.linear.matrix, first_part, last_part);
    for (int i = 0; i < Stage::kStages && early.next(); ++i) {
      bring_weights(early);
      ring.advance<Stage>();
    }
    wait_for_previous();
    ring = start;
    StageWalk walk(args.linear.matrix, first_part, last_part);
    for (int i = 0; walk.next(); ++i) {
      if (i >= Stage::kStages) {
        wait_phase(ring.empty + ring.stage, ring.parity ^ 1);
        bring_weights(walk);
      }
      bring_rows(walk);
      ring.advance<Stage>();
    }
  }
};

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

/// One of the two warpgroups that multiply.
template <class Format, int kTokens, int kSplit>
struct RingEmptier {
  using Stage = WgmmaStage<Format, kTokens, kSplit>;
  using Part = typename Format::Part;
  using Sums = Part[kTokens / 2];
  // Steps that are begun together: as many as there are registers for.
  static constexpr int kAtOnce =
      Stage::kBlocksAtOnce == 2 && kTokens == 64 && Format::kSteps == 2 ? 2 : 4;
  static constexpr int kRounds = kStageBlocks * Format::kSteps / kAtOnce;  // of a stage
  static_assert(kRounds == 1 || kRounds == kStageBlocks);
  using Operands = std::uint32_t[kAtOnce][4];  // the lane's weights
  const MatrixView& matrix;
  Ring ring;

  /// Begins d += kCount steps of the stage from block `block` on, with their weights in `a`;
  /// `fresh`: d = those steps.
  template <int kCount>
  __device__ __forceinline__ void begin(int block, Operands& a, Sums& d, bool fresh) const {
    const std::byte* stage = ring.memory + ring.stage * Stage::kBytes;
    const std::byte* weights = stage + threadIdx.x / 32 * Stage::kTileBytes + threadIdx.x % 32 * 16;
    const std::byte* rows = stage + Stage::kWeightBytes;
#pragma unroll
    for (int i = 0; i < kCount; ++i)
      Format::operand(
          Format::shared_weights(weights + (block + i / Format::kSteps) * Format::kTileBytes),
          i % Format::kSteps, a[i]);
    begin_wgmma();
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const int step = block * Format::kSteps + i;
      Format::multiply_all(d, a[i],
                           operand_descriptor(shared_address(
                               rows + step / 4 * (kTokens * kBoxBytes) + step % 4 * 32)),
                           i > 0 || !fresh);
    }
    commit_wgmma();
  }
  __device__ __forceinline__ void wait_for_stage() const {
    wait_phase(ring.full + ring.stage, ring.parity);
  }
  __device__ __forceinline__ void release(int stage) const {
    if (threadIdx.x % 32 == 0) arrive(ring.empty + stage);
  }

  /// Begins the stage that is next, when it is here; waits for the one before it (-1: none).
  __device__ __forceinline__ void begin_stage(int count, int& before, Operands& a, Sums& d) {
    wait_for_stage();
    if (count == kStageBlocks || kRounds > 1) {
      begin<kAtOnce>(0, a, d, before < 0);
    } else {
      begin<kAtOnce / kStageBlocks>(0, a, d, before < 0);
    }
    if (before >= 0) {
      wait_wgmma<1>();
      release(before);
    }
    before = ring.stage;
  }

  /// d = the sum over part `part` of K for the group's rows. A round is being multiplied while the
  /// next one's weights are fetched.
  __device__ __forceinline__ void sum_part(int part, Sums& d) {
    Operands a[2];
    int before = -1;  // the stage that is being multiplied
    StageWalk walk(matrix, part, part + 1);
    while (walk.next()) {
      begin_stage(walk.count, before, a[0], d);
      if constexpr (kRounds == 1) {
        ring.template advance<Stage>();
        if (!walk.next()) break;
        begin_stage(walk.count, before, a[1], d);
      } else if (walk.count == kStageBlocks) {
        begin<kAtOnce>(1, a[1], d, false);
        wait_wgmma<1>();
      } else {
        wait_wgmma<0>();
      }
      ring.template advance<Stage>();
    }
    wait_wgmma<0>();
    if (before >= 0) {
      release(before);
    } else {
      clear_sums(d);
    }
  }

  /// total += the sums over two stages at a time of parts [first, last), each from zero.
  __device__ __forceinline__ void add_stages(int first, int last, Sums& d, Sums& total) {
    Operands a[2];
    StageWalk walk(matrix, first, last);
    const auto begin_one = [&](Operands& operands, bool fresh) {
      wait_for_stage();
      if (walk.count == kStageBlocks) {
        begin<kAtOnce>(0, operands, d, fresh);
      } else {
        begin<kAtOnce / kStageBlocks>(0, operands, d, fresh);
      }
    };
    while (walk.next()) {
      int stage = ring.stage;
      begin_one(a[0], true);
      ring.template advance<Stage>();
      if (walk.next()) {
        begin_one(a[1], false);
        wait_wgmma<1>();
        release(stage);
        stage = ring.stage;
        ring.template advance<Stage>();
      }
      wait_wgmma<0>();
      release(stage);
      add_sums(total, d);
    }
  }
};

template <int kSize, class Part>
__device__ __forceinline__ void store_sums(const Part (&d)[kSize], float* sums) {
  const int lane = threadIdx.x % 32;
  const int row = threadIdx.x / 32 * kTileRows + lane / 4;
#pragma unroll
  for (int i = 0; i < kSize; ++i) {
    const int token = i / 4 * 8 + lane % 4 * 2 + i % 2;
    float* place = sums + token * kSumStride + row + i % 4 / 2 * 8;
    if constexpr (std::is_same_v<Part, int>) {
      *place = __int_as_float(d[i]);
    } else {
      *place = d[i];
    }
  }
}

__device__ __forceinline__ void sync_groups() {
  asm volatile("barrier.sync 1, %0;" ::"n"(kMultiplyThreads) : "memory");
}

#endif

template <class Format, int kTokens, int kSplit>
__global__ void __launch_bounds__(kWgmmaThreads, WgmmaStage<Format, kTokens, kSplit>::kBlocksAtOnce)
    linear_wgmma_kernel(const __grid_constant__ WgmmaArgs args) {
#if defined(IOL_HAS_WGMMA)
  using Stage = WgmmaStage<Format, kTokens, kSplit>;
  using Part = typename Format::Part;
  constexpr int kOwnParts = kNumParts / kSplit;
  // Sums that a block of a cluster gives to the others.
  constexpr int kOwnSums = Format::kAddsStages ? 1 : kOwnParts;
  extern __shared__ __align__(1024) std::byte memory[];
  __shared__ std::uint64_t full[Stage::kStages];
  __shared__ std::uint64_t empty[Stage::kStages];
  Ring ring = {memory, full, empty};
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < Stage::kStages; ++stage) {
      init_barrier(full + stage, 1);
      init_barrier(empty + stage, kMultiplyThreads / 32);
    }
    publish_barriers();
  }
  __syncthreads();
  let_next_start();
  const int rank = blockIdx.x % kSplit;
  const int first_token = blockIdx.x / kSplit * kTokens;
  const int first_tile = blockIdx.y * kWgmmaTiles;
  const int first_row = first_tile * kTileRows;
  const MatrixView& matrix = args.linear.matrix;
  if (threadIdx.x >= kMultiplyThreads) {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(Stage::kFillRegisters));
    if (threadIdx.x == kMultiplyThreads)
      RingFiller<Format, kTokens, kSplit>{args, ring, first_tile, first_token}.fill(
          rank * kOwnParts, (rank + 1) * kOwnParts);
    if constexpr (kSplit > 1) {
      __syncwarp();
      cluster_barrier();
      cluster_barrier();
    }
    return;
  }
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(Stage::kMultiplyRegisters));
  wait_for_previous();
  auto* sums = reinterpret_cast<float*>(memory);
  RingEmptier<Format, kTokens, kSplit> group = {matrix, ring};
  if constexpr (kSplit == 1) {
    Part d[kTokens / 2];
    Part total[kTokens / 2] = {};
    if constexpr (Format::kAddsStages) {
      group.add_stages(0, kNumParts, d, total);
    } else {
      for (int part = 0; part < kNumParts; ++part) {
        group.sum_part(part, d);
        add_sums(total, d);
      }
    }
    sync_groups();  // the stages are empty
    store_sums(total, sums);
    sync_groups();
    finish_tokens<Format>(
        args.linear, first_row, first_token, 0, kTokens, [&](int token, int row, Part(&sum)[4]) {
          const auto v = *reinterpret_cast<float4*>(sums + token * kSumStride + row);
          sum[0] = Format::part(v.x), sum[1] = Format::part(v.y);
          sum[2] = Format::part(v.z), sum[3] = Format::part(v.w);
        });
  } else {
    Part own[kOwnSums][kTokens / 2] = {};
    if constexpr (Format::kAddsStages) {
      Part d[kTokens / 2];
      group.add_stages(rank * kOwnParts, (rank + 1) * kOwnParts, d, own[0]);
    } else {
#pragma unroll
      for (int i = 0; i < kOwnParts; ++i) group.sum_part(rank * kOwnParts + i, own[i]);
    }
    sync_groups();
#pragma unroll
    for (int i = 0; i < kOwnSums; ++i) store_sums(own[i], sums + i * kTokens * kSumStride);
    cluster_barrier();
    constexpr int kShare = kTokens / kSplit;
    finish_tokens<Format>(args.linear, first_row, first_token, rank * kShare, (rank + 1) * kShare,
                          [&](int token, int row, Part(&sum)[4]) {
                            for (Part& one : sum) one = 0;
#pragma unroll
                            for (int i = 0; i < kSplit * kOwnSums; ++i) {
                              const float4 v = load_four_from(
                                  sums + (i % kOwnSums * kTokens + token) * kSumStride + row,
                                  i / kOwnSums);
                              sum[0] += Format::part(v.x), sum[1] += Format::part(v.y);
                              sum[2] += Format::part(v.z), sum[3] += Format::part(v.w);
                            }
                          });
    cluster_barrier();  // nobody leaves while its memory is read
  }
#endif
}

template <class Format, int kTokens, int kSplit>
void launch_wgmma(const LinearTask& task, StreamHandle stream) {
  using Stage = WgmmaStage<Format, kTokens, kSplit>;
  auto* kernel = linear_wgmma_kernel<Format, kTokens, kSplit>;
  constexpr int kBytes = Stage::kStages * Stage::kBytes;
  static_assert((kSplit == 4 ? 2 : 1) * kTokens * kSumStride * 4 <= kBytes);
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
  const LinearArgs linear = linear_args<Format>(task);
  const int tile_words = num_blocks(task.matrix) * (Format::kTileBytes / kWeightWordBytes);
  const WgmmaArgs args = {
      linear,
      word_map(linear.weights, tile_words, task.matrix.rows / kTileRows,
               Stage::kTileBytes / kWeightWordBytes, kWgmmaTiles),
      row_map(linear.x, static_cast<int>(linear.x_row_bytes), task.num_tokens, kTokens)};
  const dim3 grid((task.num_tokens + kTokens - 1) / kTokens * kSplit,
                  (task.matrix.rows + kWgmmaRows - 1) / kWgmmaRows);
  launch_clusters(kernel, grid, kSplit, kWgmmaThreads, kBytes, stream, args);
}

template <class Format, int kTokens>
void launch_few(int split, const LinearTask& task, StreamHandle stream) {
  if (split == 1) return launch_wgmma<Format, kTokens, 1>(task, stream);
  if constexpr (!(kTokens == 64 && Format::kSteps == 4)) {  // which has no registers left for it
    if (split == 4) return launch_wgmma<Format, kTokens, 4>(task, stream);
  }
  launch_wgmma<Format, kTokens, 8>(task, stream);
}

/// In the shape that the task asks for, else in the best for its size.
template <class Format>
void launch_wgmma(const LinearTask& task, StreamHandle stream) {
  const WideShape shape = task.shape.tokens != 0 ? task.shape : wide_shape(task);
  if constexpr (!Format::kAddsStages) {  // few tokens have exact sums
    if (shape.tokens == 16) return launch_few<Format, 16>(shape.split, task, stream);
    if (shape.tokens == 32) return launch_few<Format, 32>(shape.split, task, stream);
  }
  if (shape.tokens == 64) return launch_few<Format, 64>(shape.split, task, stream);
  shape.split == 1 ? launch_wgmma<Format, 128, 1>(task, stream)
                   : launch_wgmma<Format, 128, 4>(task, stream);
}

}  // namespace iol::cuda
