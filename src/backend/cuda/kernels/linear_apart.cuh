#pragma once
// Products of up to 64 tokens whose units of work (linear_wgmma.cuh) are shared by kSplit blocks of
// threads, each with its parts of K, that meet in device memory. A cluster's blocks must find room
// near each other: of 132 multiprocessors 120 have room for clusters of four or eight, so 32 units
// of eight blocks make two waves there. These blocks may be anywhere.
//
// A block leaves the sum of each of its parts when it is complete. When all parts of a unit are
// there, each of its blocks adds them, in ascending order, and finishes its share of the tokens.
// Blocks start in the order of their numbers, and a unit's have neighbouring ones: of those that
// have started all but the last unit's find each other there, so nobody waits for a block that has
// no room. A block takes half of a multiprocessor.
#include "backend/cuda/kernels/linear_wgmma.cuh"
#include "backend/cuda/kernels/wgmma_ahead.cuh"

namespace iol::cuda {

template <class Format, int kTokens, int kSplit>
struct ApartBlock {
  static constexpr int kGroups = 2;
  static constexpr int kThreads = (kGroups + 1) * kFinishThreads;
  static constexpr int kAtOnce = 2;          // on a multiprocessor
  static constexpr int kFillRegisters = 32;  // of the 80 that a thread has at the start
  static constexpr int kMultiplyRegisters = 104;
  static constexpr int kRowBytes = kTokens * kStageBlocks * Format::kRowBytes;  // of a stage
  static constexpr int kTileBytes = kStageBlocks * Format::kTileBytes;
  static constexpr int kRingBytes = 112 * 1024;
  static constexpr int kOwnTokens = kTokens / kSplit;  // that a block finishes
};

#if defined(IOL_HAS_WGMMA)

/// Sums of a unit's parts in device memory: [part][group][token][row].
template <class Format, int kTokens, int kGroups>
struct ApartSums : TokenScales<Format> {
  static constexpr int kGroupSums = kTokens * kFinishRows;
  static constexpr int kPartSums = kGroups * kGroupSums;
  float* sums;  // the group's, of part 0

  /// What a thread has of part `part`.
  template <int kSize>
  __device__ __forceinline__ void leave(int part, const typename Format::Part (&d)[kSize]) const {
    const int thread = threadIdx.x % kFinishThreads;
    float* place = sums + part * kPartSums + thread % 4 * 2 * kFinishRows +
                   thread / 32 * kTileRows + thread % 32 / 4;
#pragma unroll
    for (int i = 0; i < kSize; ++i) {
      float* at = place + (i / 4 * 8 + i % 2) * kFinishRows + i % 4 / 2 * 8;
      if constexpr (std::is_same_v<typename Format::Part, int>) {
        __stcg(at, __int_as_float(d[i]));
      } else {
        __stcg(at, d[i]);
      }
    }
  }
  __device__ __forceinline__ void take(int token, int row, typename Format::Part (&sum)[4]) const {
    const auto* from = reinterpret_cast<const float4*>(sums + token * kFinishRows + row);
    float4 v[kNumParts];
#pragma unroll
    for (int part = 0; part < kNumParts; ++part) v[part] = __ldcg(from + part * (kPartSums / 4));
    for (auto& one : sum) one = 0;
#pragma unroll
    for (int part = 0; part < kNumParts; ++part) {
      sum[0] += Format::part(v[part].x), sum[1] += Format::part(v[part].y);
      sum[2] += Format::part(v[part].z), sum[3] += Format::part(v[part].w);
    }
  }
};

/// How many blocks' sums of a unit's group are there. Zero again when all have taken them.
template <int kSplit>
struct Arrivals {
  std::uint32_t* count;
  int group;
  /// By all threads of the group, behind what they left: returns when all have come.
  __device__ __forceinline__ void meet() const {
    named_barrier(1 + group, kFinishThreads);
    if (threadIdx.x % kFinishThreads == 0) {
      asm volatile("red.release.gpu.global.add.u32 [%0], 1;" ::"l"(count) : "memory");
      while (read_flag(count) < kSplit) {
      }
    }
    named_barrier(1 + group, kFinishThreads);
  }
  __device__ __forceinline__ void go() const {
    if (threadIdx.x % kFinishThreads == 0 && atomicAdd(count, 1U) == 2 * kSplit - 1) *count = 0;
  }
};

#endif

template <class Format, int kTokens, int kSplit>
__global__ void __launch_bounds__(ApartBlock<Format, kTokens, kSplit>::kThreads,
                                  ApartBlock<Format, kTokens, kSplit>::kAtOnce)
    linear_apart_kernel(const __grid_constant__ WgmmaArgs args) {
#if defined(IOL_HAS_WGMMA)
  using Block = ApartBlock<Format, kTokens, kSplit>;
  using Part = typename Format::Part;
  extern __shared__ __align__(1024) std::byte memory[];
  __shared__ std::uint64_t full[kMostStages];
  __shared__ std::uint64_t empty[kMostStages];
  Ring ring = {memory, full, empty, args.stages};
  const int groups = (args.tiles * kTileRows + kFinishRows - 1) / kFinishRows;  // that have rows
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < args.stages; ++stage) {
      init_barrier(full + stage, 2);
      init_barrier(empty + stage, groups * kFinishThreads);
    }
    publish_barriers();
  }
  __syncthreads();
  let_next_start();
  const Share share = Share::of<kSplit>(args);
  const int group = first_lanes(static_cast<int>(threadIdx.x) / kFinishThreads);
  if (group == Block::kGroups) {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(Block::kFillRegisters));
    RingFiller<Format, kTokens, kSplit> filler = {args, ring, share};
    fill_ring(filler);
    return;
  }
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(Block::kMultiplyRegisters));
  if (group >= groups) return;
  wait_for_previous();
  const Piece piece = share.piece<kSplit>(args, 0);
  const int unit = piece.row_unit;
  const ApartSums<Format, kTokens, Block::kGroups> sums = {
      {args.linear, 0},
      args.exchange.sums + (static_cast<std::int64_t>(unit) * kNumParts * Block::kGroups + group) *
                               (kTokens * kFinishRows)};
  const GroupRows rows = group_rows(args.linear, unit * args.tiles, args.tiles, group);
  const Finisher<Format> finisher = {args.linear, rows, 0};
  finisher.prefetch();
  {
    const int tile = min(static_cast<int>(threadIdx.x) / 32, args.tiles - 1);
    AheadEmptier<Format, kTokens> emptier(
        args, ring, Block::kRowBytes + tile * Block::kTileBytes + threadIdx.x % 32 * 16);
#pragma unroll 1
    for (int part = piece.first_part; part < piece.end_part; ++part) {
      Part d[kTokens / 2] = {};
      emptier.sum_part(part, d);
      sums.leave(part, d);
    }
  }
  constexpr int kStride = Finisher<Format>::kTokenStride;
  const int begin = static_cast<int>(blockIdx.x) % kSplit * Block::kOwnTokens;
  const int end = begin + Block::kOwnTokens;
  float4 old[(Block::kOwnTokens + kStride - 1) / kStride] = {};
  finisher.load_old(begin, end, old);
  const Arrivals<kSplit> arrivals = {args.exchange.are_there + unit * Block::kGroups + group,
                                     group};
  arrivals.meet();
  if (finisher.is_plain()) {
    finisher.finish_plain(begin, end, old, sums);
  } else {
    finisher.finish_other(begin, end, sums);
  }
  named_barrier(1 + group, kFinishThreads);
  arrivals.go();
#endif
}

template <class Format, int kTokens, int kSplit>
void launch_apart_by(const LinearTask& task, const WideShape& shape, StreamHandle stream) {
  using Block = ApartBlock<Format, kTokens, kSplit>;
  auto* kernel = linear_apart_kernel<Format, kTokens, kSplit>;
  const auto args = wgmma_args<Format, Block, kTokens>(task, shape);
  launch_kernel(kernel, dim3(args.units * kSplit), Block::kThreads, Block::kRingBytes, stream,
                args);
}

template <class Format, int kTokens>
void launch_apart(const LinearTask& task, const WideShape& shape, StreamHandle stream) {
  if (shape.split == 4) return launch_apart_by<Format, kTokens, 4>(task, shape, stream);
  launch_apart_by<Format, kTokens, 8>(task, shape, stream);
}

}  // namespace iol::cuda
