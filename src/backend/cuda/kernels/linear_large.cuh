#pragma once
// x W^T for many tokens on compute capability 9.0, where no token's bits have to be independent of
// the others' (LinearTask::is_exact) or sums are exact anyway. A unit of work is 128 rows by 256
// tokens, and a sum over K has one accumulator: the parts of K that give a token the bits it has
// alone would need as many registers again for their total, and there are none left.
//
// What so large a unit is for are bytes from the L2 cache to shared memory, which under load are
// power: 23 of 16-bit operands for a thousand multiplications instead of 26 of 192 x 128 and 31 of
// 128 x 128. Two blocks of threads with the same tokens bring each other half of their rows of x:
// 16. And one instruction has 256 tokens, so that the tensor cores read its weights from registers
// half as often.
//
// A block of threads walks over units, through a ring of stages as in wgmma_ring.cuh. With few
// units a cluster of kSplit blocks shares one, also of 128 tokens: each takes its share of K, and
// they add their sums through the cluster's shared memory.
#include "backend/cuda/kernels/finish_large.cuh"
#include "backend/cuda/kernels/linear_wgmma.cuh"

namespace iol::cuda {

inline constexpr int kLargeTiles = 8;  // of 16 rows

struct LargeArgs {
  LinearArgs linear;
  CUtensorMap weights;  // a row of words to a tile of 16 rows
  CUtensorMap x;        // [num_tokens] rows of bytes
  int blocks;           // of K
  int token_units;
  int row_units;
  int near_units;  // token units that are multiplied one after the other by the same rows
};

template <class Format, int kTokens, int kSplit>
struct LargeBlock {
  static constexpr int kGroups = 2;
  static constexpr bool kIsPair = kSplit == 1;  // blocks bring each other rows of x
  static constexpr int kThreads = (kGroups + 1) * kGroupThreads;
  static constexpr int kRowBytes = kTokens * kStageBlocks * Format::kRowBytes;  // of a stage
  static constexpr int kTileBytes = kStageBlocks * Format::kTileBytes;
  static constexpr int kStageBytes = kRowBytes + kLargeTiles * kTileBytes;
  // Of a group: two chunks of tokens, behind the ring, or in a cluster all of them, in its place.
  static constexpr int kGroupSums = (kSplit > 1 ? kTokens : 2 * kLargeChunk) * kSumStride;
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

/// The units of a block and its blocks of K. Unit numbers of a pair are those of both blocks.
template <int kSplit, bool kIsPair>
struct LargeUnits {
  static constexpr int kCluster = kIsPair ? 2 : kSplit;
  const LargeArgs& args;

  [[nodiscard]] __device__ __forceinline__ static int rank() {
    return number_of_block() % kCluster;
  }
  [[nodiscard]] __device__ __forceinline__ static int first() {
    return number_of_block() / kCluster;
  }
  [[nodiscard]] __device__ __forceinline__ static int stride() {
    return static_cast<int>(gridDim.x) / kCluster;
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
    const int rows = rest / near;
    return {kIsPair ? 2 * rows + rank() : rows, first_token + rest % near};
  }
  [[nodiscard]] __device__ __forceinline__ int first_block() const {
    return kIsPair ? 0 : share_begin(rank());
  }
  [[nodiscard]] __device__ __forceinline__ int end_block() const {
    return kIsPair ? args.blocks : min(share_begin(rank() + 1), args.blocks);
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
  using Units = LargeUnits<kSplit, Block::kIsPair>;
  const LargeArgs& args;
  Ring ring;
  Units units;
  std::uint64_t* other_empty;  // [stages], of a pair: the other block's stage is empty

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
      int token = place.token_unit * kTokens;
      if constexpr (Block::kIsPair) {
        // Each brings half of the tokens for both, when both have room for them.
        const int rank = Units::rank();
        std::uint64_t* other = other_empty + ring.stage;
        arrive_in(other, rank ^ 1);
        wait_phase(other, ring.parity);
        token += rank * (kTokens / 2);
        copy_box_to_all(ring.memory + offset + rank * (Block::kRowBytes / 2), &args.x,
                        block * Format::kRowBytes, token, full, 3);
      } else {
        copy_box(ring.memory + offset, &args.x, block * Format::kRowBytes, token, full);
      }
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

/// One of the warpgroups that multiply: 64 rows by kTokens tokens.
template <class Format, int kTokens, int kSplit>
struct LargeMultiplier {
  using Block = LargeBlock<Format, kTokens, kSplit>;
  using Sums = typename Format::Part[kTokens / 2];
  static constexpr int kSteps = kStageBlocks * Format::kSteps;  // multiplications of a stage
  using Operands = std::uint32_t[kSteps][4];                    // the lane's weights
  Ring ring;
  int weights;         // where the lane's weights begin in a stage
  std::uint32_t rows;  // the address of the first stage, as a descriptor has it

  /// d += the next `stages` stages. What a stage has behind the end of K is zero.
  __device__ __forceinline__ void add_stages(int stages, Sums& d) {
    if (stages == 0) return;
    Operands a[2];  // one is multiplied while the next is fetched
#pragma unroll 1
    for (int left = stages;;) {
      begin(a[0], d);
      if (left < stages) release_last();
      ring.advance();
      if (--left == 0) break;
      begin(a[1], d);
      release_last();
      ring.advance();
      if (--left == 0) break;
    }
    wait_wgmma<0>();
    release_last();
  }

 private:
  /// Begins to multiply the stage and waits for the one before.
  __device__ __forceinline__ void begin(Operands& a, Sums& d) const {
    ring.wait_full();
    const std::byte* own = ring.memory + weights + ring.stage * Block::kStageBytes;
#pragma unroll
    for (int block = 0; block < kStageBlocks; ++block) {
      const auto w = Format::shared_weights(own + block * Format::kTileBytes);
#pragma unroll
      for (int i = 0; i < Format::kSteps; ++i) Format::operand(w, i, a[block * Format::kSteps + i]);
    }
    const std::uint32_t descriptor = rows + ring.stage * (Block::kStageBytes / 16);
    begin_wgmma();
#pragma unroll
    for (int i = 0; i < kSteps; ++i)
      Format::multiply_all(d, a[i], operand_descriptor(descriptor + i * 2), true);
    commit_wgmma();
    wait_wgmma<1>();
  }
  /// The stage before the ring's has been read.
  __device__ __forceinline__ void release_last() const {
    arrive(ring.empty + (ring.stage == 0 ? Block::kStages : ring.stage) - 1);
  }
};

/// Adds the cluster's sums, each block for its part of the tokens, and finishes them.
template <class Format, int kTokens, int kSplit, class Part>
__device__ __forceinline__ void finish_cluster(const LinearArgs& linear, const GroupRows& rows,
                                               int first_token, const Part (&d)[kTokens / 2],
                                               float* sums) {
  constexpr int kOwnTokens = kTokens / kSplit;
  store_chunk<kTokens / 2>(d, 0, sums);
  const int begin = LargeUnits<kSplit, false>::rank() * kOwnTokens;
  const LargeFinisher<Format> finisher = {{linear, rows, first_token}};
  const auto scales = finisher.scales();
  const ClusterSums<Format, kSplit, 1, kTokens> all = {{linear, first_token}, sums};
  cluster_barrier();
  if (finisher.is_usual()) {
    constexpr int kAtOnce = 2;  // chunks, so that more is read from the other block at a time
    float4 v[kAtOnce][LargeFinisher<Format>::kCount];
    float4 old[kAtOnce][LargeFinisher<Format>::kCount] = {};
#pragma unroll 1
    for (int token = begin; token < begin + kOwnTokens; token += kAtOnce * kLargeChunk) {
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        finisher.load_exact(token + i * kLargeChunk, old[i]);
        finisher.take(token + i * kLargeChunk, all, scales, v[i]);
      }
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) finisher.write(token + i * kLargeChunk, v[i], old[i]);
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
  __shared__ std::uint64_t other_empty[Block::kStages];
  Ring ring = {memory, full, empty, Block::kStages};
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < Block::kStages; ++stage) {
      init_barrier(full + stage, 2);
      init_barrier(empty + stage, Block::kGroups * kGroupThreads);
      init_barrier(other_empty + stage, 1);
    }
    publish_barriers();
  }
  if constexpr (Block::kIsPair) {
    cluster_barrier();
  } else {
    __syncthreads();
  }
  let_next_start();
  const LargeUnits<kSplit, Block::kIsPair> units = {args};
  const int group = threadIdx.x / kGroupThreads;
  if (group == Block::kGroups) {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(24));
    LargeFiller<Format, kTokens, kSplit> filler = {args, ring, units, other_empty};
    fill_ring(filler);
    __syncwarp();
    pass_cluster_barriers<kSplit>();
    if constexpr (Block::kIsPair) cluster_barrier();
    return;
  }
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(240));
  wait_for_previous();
  LargeMultiplier<Format, kTokens, kSplit> multiplier = {
      ring,
      Block::kRowBytes +
          static_cast<int>(threadIdx.x / 32 * Block::kTileBytes + threadIdx.x % 32 * 16),
      shared_address(memory) / 16};
  const int stages = (units.end_block() - units.first_block() + kStageBlocks - 1) / kStageBlocks;
  float* sums = reinterpret_cast<float*>(memory + (kSplit > 1 ? 0 : Block::kRingBytes)) +
                group * Block::kGroupSums;
#pragma unroll 1
  for (int unit = units.first(); unit < units.end(); unit += units.stride()) {
    const auto place = units.place(unit);
    const int first_token = place.token_unit * kTokens;
    const GroupRows rows =
        group_rows(args.linear, place.row_unit * kLargeTiles, kLargeTiles, group);
    const LargeFinisher<Format> finisher = {{args.linear, rows, first_token}};
    Part d[kTokens / 2] = {};
    if constexpr (kSplit == 1) {
      const auto scales = LargeScales<Format, kTokens>::read(finisher);
      multiplier.add_stages(stages, d);
      finish_large(finisher, d, scales, sums);
    } else {  // the only unit
      multiplier.add_stages(stages, d);
      named_barrier(1, Block::kGroups * kGroupThreads);  // the stages are empty
      finish_cluster<Format, kTokens, kSplit>(args.linear, rows, first_token, d, sums);
    }
  }
  if constexpr (Block::kIsPair) {
    __syncwarp();
    cluster_barrier();  // nobody leaves while the other block may write here
  }
#endif
}

template <class Format, int kTokens, int kSplit>
void launch_large(const LinearTask& task, StreamHandle stream) {
  using Block = LargeBlock<Format, kTokens, kSplit>;
  constexpr int kNearTokens = 2048;
  constexpr int kRows = kLargeTiles * kTileRows;
  auto* kernel = linear_large_kernel<Format, kTokens, kSplit>;
  LargeArgs args;
  args.linear = linear_args<Format>(task);
  args.blocks = num_blocks(task.matrix);
  args.token_units = (task.num_tokens + kTokens - 1) / kTokens;
  args.row_units = (task.matrix.rows + kRows - 1) / kRows;
  if (Block::kIsPair) args.row_units = (args.row_units + 1) / 2;
  args.near_units = std::min(kNearTokens / kTokens, args.token_units);
  args.weights =
      word_map(args.linear.weights, args.blocks * (Format::kTileBytes / kWeightWordBytes),
               task.matrix.rows / kTileRows, Block::kTileBytes / kWeightWordBytes, kLargeTiles);
  args.x = row_map(args.linear.x, static_cast<int>(args.linear.x_row_bytes), task.num_tokens,
                   Block::kIsPair ? kTokens / 2 : kTokens);
  constexpr int kCluster = Block::kIsPair ? 2 : kSplit;
  const int units = args.token_units * args.row_units;
  const int clusters = kSplit > 1 ? units : std::min(units, multiprocessors() / kCluster);
  launch_clusters(kernel, dim3(clusters * kCluster), kCluster, Block::kThreads, Block::kSharedBytes,
                  stream, args);
}

/// In a shape that is_large().
template <class Format>
void launch_large(const LinearTask& task, const WideShape& shape, StreamHandle stream) {
  if (shape.tokens == 128) return launch_large<Format, 128, 2>(task, stream);
  if (shape.split == 2) return launch_large<Format, 256, 2>(task, stream);
  launch_large<Format, 256, 1>(task, stream);
}

}  // namespace iol::cuda
