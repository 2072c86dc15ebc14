#pragma once
// x W^T for many tokens on compute capability 9.0, where no token's bits have to be independent of
// the others' (LinearTask::is_exact) or sums are exact anyway. A unit of work is 128 rows by 256
// tokens, and a sum over K has one accumulator: the parts of K that give a token the bits it has
// alone would need as many registers again for their total, and there are none left.
//
// What so large a unit is for are bytes from the L2 cache to shared memory: 23 of 16-bit operands
// for a thousand multiplications instead of 26 of 192 x 128 and 31 of 128 x 128, which under load
// is power. And one instruction has 256 tokens, so that the tensor cores read its weights from
// registers half as often.
//
// A block of threads walks over units, through a ring of stages as in wgmma_ring.cuh. With few
// units a cluster of kSplit blocks shares one, also of 128 tokens: each takes its share of K, and
// they add their sums through the cluster's shared memory.
#include "backend/cuda/kernels/linear_wgmma.cuh"

namespace iol::cuda {

inline constexpr int kLargeTiles = 8;   // of 16 rows
inline constexpr int kLargeChunk = 64;  // tokens that are finished at a time

struct LargeArgs {
  LinearArgs linear;
  CUtensorMap weights;  // a row of words to a tile of 16 rows
  CUtensorMap x;        // [num_tokens] rows of bytes
  int blocks;           // of K
  int token_units;
  int row_units;
  int near_units;  // token units that are multiplied one after the other by the same rows
  int stage_bytes;
};

template <class Format, int kTokens, int kSplit>
struct LargeBlock {
  static constexpr int kGroups = 2;
  static constexpr int kThreads = (kGroups + 1) * kGroupThreads;
  static constexpr int kRowBytes = kTokens * kStageBlocks * Format::kRowBytes;  // of a stage
  static constexpr int kTileBytes = kStageBlocks * Format::kTileBytes;
  static constexpr int kStageBytes = kRowBytes + kLargeTiles * kTileBytes;
  // Of a group: some tokens', behind the ring, or in a cluster all of them, in its place.
  static constexpr int kGroupSums = (kSplit > 1 ? kTokens : kLargeChunk) * kSumStride;
  static constexpr int kSumBytes = kGroups * kGroupSums * 4;
  static constexpr int kMostBytes = 226 * 1024;
  static constexpr int kStages = (kMostBytes - (kSplit > 1 ? 0 : kSumBytes)) / kStageBytes;
  static constexpr int kRingBytes = kStages * kStageBytes;
  static constexpr int kSharedBytes = kRingBytes + (kSplit > 1 ? 0 : kSumBytes);
  static_assert(kStages >= 4);
  static_assert(kStageBlocks * Format::kRowBytes == kBoxBytes);  // one box
  static_assert(kSplit == 1 || kSumBytes <= kRingBytes);
};

#if defined(IOL_HAS_WGMMA)

/// The units of a block, or of a cluster of kSplit blocks, and its blocks of K.
template <int kSplit>
struct LargeUnits {
  const LargeArgs& args;

  [[nodiscard]] __device__ __forceinline__ static int rank() { return number_of_block() % kSplit; }
  [[nodiscard]] __device__ __forceinline__ static int first() { return number_of_block() / kSplit; }
  [[nodiscard]] __device__ __forceinline__ static int stride() {
    return static_cast<int>(gridDim.x) / kSplit;
  }
  [[nodiscard]] __device__ __forceinline__ int end() const {
    return args.token_units * args.row_units;
  }
  /// Units next to each other share rows or tokens, so that what blocks read at a time is in the L2
  /// cache.
  struct Place {
    int row_unit;
    int token_unit;
  };
  [[nodiscard]] __device__ __forceinline__ Place place(int unit) const {
    const int first_token = unit / (args.near_units * args.row_units) * args.near_units;
    const int near = min(args.near_units, args.token_units - first_token);
    const int rest = unit - first_token * args.row_units;
    return {rest / near, first_token + rest % near};
  }
  [[nodiscard]] __device__ __forceinline__ int first_block() const { return share_begin(rank()); }
  [[nodiscard]] __device__ __forceinline__ int end_block() const {
    return min(share_begin(rank() + 1), args.blocks);
  }

 private:
  [[nodiscard]] __device__ __forceinline__ int share_begin(int share) const {
    const int stages = (args.blocks + kStageBlocks - 1) / kStageBlocks;
    return share * stages / kSplit * kStageBlocks;
  }
};

template <class Format, int kTokens, int kSplit>
struct LargeFiller {
  using Block = LargeBlock<Format, kTokens, kSplit>;
  using Units = LargeUnits<kSplit>;
  const LargeArgs& args;
  Ring ring;
  Units units;

  __device__ __forceinline__ void fill_weights() {
    prefetch_map(&args.weights);
    fill([&](int offset, int block, const typename Units::Place& place) {
      std::uint64_t* full = ring.full + ring.stage;
      arrive_expecting(full, kLargeTiles * Block::kTileBytes);
      copy_box(ring.memory + Block::kRowBytes + offset, &args.weights,
               block * (Format::kTileBytes / kWeightWordBytes), place.row_unit * kLargeTiles, full);
    });
  }
  __device__ __forceinline__ void fill_rows() {
    prefetch_map(&args.x);
    wait_for_previous();
    fill([&](int offset, int block, const typename Units::Place& place) {
      std::uint64_t* full = ring.full + ring.stage;
      arrive_expecting(full, Block::kRowBytes);
      copy_box(ring.memory + offset, &args.x, block * Format::kRowBytes, place.token_unit * kTokens,
               full);
    });
  }

 private:
  /// bring(offset of the stage, its first block of K, the unit's place)
  template <class Bring>
  __device__ __forceinline__ void fill(Bring bring) {
    const int first_block = units.first_block();
    const int end_block = units.end_block();
    int offset = 0;
#pragma unroll 1
    for (int unit = units.first(); unit < units.end(); unit += units.stride()) {
      const auto place = units.place(unit);
#pragma unroll 1
      for (int block = first_block; block < end_block; block += kStageBlocks) {
        wait_phase(ring.empty + ring.stage, ring.parity ^ 1);
        if (is_elected()) bring(offset, block, place);
        ring.advance();
        offset = ring.stage == 0 ? 0 : offset + Block::kStageBytes;
      }
    }
  }
};

/// Finishes a group's sums, 128 tokens at a time.
template <class Format, int kTokens, class Part>
__device__ __forceinline__ void finish_unit(const LinearArgs& linear, const GroupRows& rows,
                                            int first_token, const Part (&d)[kTokens / 2],
                                            float* sums) {
  constexpr int kAtOnce = 128;
  using Own = const Part(&)[kAtOnce / 2];
#pragma unroll
  for (int token = 0; token < kTokens; token += kAtOnce)
    finish_group<Format, kAtOnce, kLargeChunk>(
        {linear, rows, first_token + token}, reinterpret_cast<Own>(d[token / 2]),
        own_token_scale<Format>(linear, first_token + token), sums);
}

/// Adds the cluster's sums, each block for its part of the tokens, and finishes them.
template <class Format, int kTokens, int kSplit, class Part>
__device__ __forceinline__ void finish_cluster(const LinearArgs& linear, const GroupRows& rows,
                                               int first_token, const Part (&d)[kTokens / 2],
                                               float* sums) {
  constexpr int kOwnTokens = kTokens / kSplit;
  constexpr int kAtOnce = 32;  // whose old numbers are in registers
  constexpr int kCount = kAtOnce / Finisher<Format>::kTokenStride;
  store_chunk<kTokens / 2>(d, 0, sums);
  const int begin = LargeUnits<kSplit>::rank() * kOwnTokens;
  const Finisher<Format> finisher = {linear, rows, first_token};
  const ClusterSums<Format, kSplit, 1, kTokens> all = {{linear.x_scales + first_token}, sums};
  cluster_barrier();
  if (finisher.is_plain()) {
#pragma unroll 1
    for (int token = begin; token < begin + kOwnTokens; token += kAtOnce) {
      float4 old[kCount] = {};
      finisher.load_old(token, token + kAtOnce, old);
      finisher.finish_plain(token, token + kAtOnce, old, all);
    }
  } else {
    finisher.finish_other(begin, begin + kOwnTokens, all);
  }
  cluster_barrier();  // nobody leaves while its memory is read
}

#endif

template <class Format, int kTokens, int kSplit>
__global__ void __launch_bounds__(LargeBlock<Format, kTokens, kSplit>::kThreads, 1)
    linear_large_kernel(const __grid_constant__ LargeArgs args) {
#if defined(IOL_HAS_WGMMA)
  using Block = LargeBlock<Format, kTokens, kSplit>;
  using Part = typename Format::Part;
  extern __shared__ __align__(1024) std::byte memory[];
  __shared__ std::uint64_t full[Block::kStages];
  __shared__ std::uint64_t empty[Block::kStages];
  Ring ring = {memory, full, empty, Block::kStages};
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < Block::kStages; ++stage) {
      init_barrier(full + stage, 2);
      init_barrier(empty + stage, Block::kGroups * (kGroupThreads / 32));
    }
    publish_barriers();
  }
  __syncthreads();
  let_next_start();
  const LargeUnits<kSplit> units = {args};
  const int group = threadIdx.x / kGroupThreads;
  if (group == Block::kGroups) {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(24));
    LargeFiller<Format, kTokens, kSplit> filler = {args, ring, units};
    fill_ring(filler);
    __syncwarp();
    pass_cluster_barriers<kSplit>();
    return;
  }
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(240));
  wait_for_previous();
  RingEmptier<Format, kTokens, 2, LargeArgs> emptier = {
      args, ring, Block::kRowBytes + threadIdx.x / 32 * Block::kTileBytes + threadIdx.x % 32 * 16,
      shared_address(memory) / 16};
  float* sums = reinterpret_cast<float*>(memory + (kSplit > 1 ? 0 : Block::kRingBytes)) +
                group * Block::kGroupSums;
#pragma unroll 1
  for (int unit = units.first(); unit < units.end(); unit += units.stride()) {
    // Without a first value the compiler takes d's last one for used and keeps it until here.
    Part d[kTokens / 2] = {};
    emptier.sum_blocks(units.first_block(), units.end_block(), d);
    const auto place = units.place(unit);
    const GroupRows rows =
        group_rows(args.linear, place.row_unit * kLargeTiles, kLargeTiles, group);
    const int first_token = place.token_unit * kTokens;
    if constexpr (kSplit == 1) {
      finish_unit<Format, kTokens>(args.linear, rows, first_token, d, sums);
    } else {                                             // the only unit
      named_barrier(1, Block::kGroups * kGroupThreads);  // the stages are empty
      finish_cluster<Format, kTokens, kSplit>(args.linear, rows, first_token, d, sums);
    }
  }
#endif
}

template <class Format, int kTokens, int kSplit>
void launch_large(const LinearTask& task, StreamHandle stream) {
  using Block = LargeBlock<Format, kTokens, kSplit>;
  constexpr int kNearTokens = 2048;
  constexpr int kRows = kLargeTiles * kTileRows;
  auto* kernel = linear_large_kernel<Format, kTokens, kSplit>;
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, Block::kSharedBytes);
  LargeArgs args;
  args.linear = linear_args<Format>(task);
  args.blocks = num_blocks(task.matrix);
  args.token_units = (task.num_tokens + kTokens - 1) / kTokens;
  args.row_units = (task.matrix.rows + kRows - 1) / kRows;
  args.near_units = std::min(kNearTokens / kTokens, args.token_units);
  args.stage_bytes = Block::kStageBytes;
  args.weights =
      word_map(args.linear.weights, args.blocks * (Format::kTileBytes / kWeightWordBytes),
               task.matrix.rows / kTileRows, Block::kTileBytes / kWeightWordBytes, kLargeTiles);
  args.x =
      row_map(args.linear.x, static_cast<int>(args.linear.x_row_bytes), task.num_tokens, kTokens);
  const int units = args.token_units * args.row_units;
  const int blocks = kSplit > 1 ? units * kSplit : std::min(units, multiprocessors());
  launch_clusters(kernel, dim3(blocks), kSplit, Block::kThreads, Block::kSharedBytes, stream, args);
}

/// In a shape that is_large().
template <class Format>
void launch_large(const LinearTask& task, const WideShape& shape, StreamHandle stream) {
  if (shape.tokens == 128) return launch_large<Format, 128, 2>(task, stream);
  if (shape.split == 2) return launch_large<Format, 256, 2>(task, stream);
  launch_large<Format, 256, 1>(task, stream);
}

}  // namespace iol::cuda
