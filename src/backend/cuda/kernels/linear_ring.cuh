#pragma once
// linear_tile.cuh for up to eight tokens with weights on their way through shared memory: a ring
// for each warp, of its part of K and, where they are not in shared memory already, of the tokens'
// rows. Copies are the warp's own (cp.async), and nobody else waits for them. A ring in registers
// is none: the compiler counts loads under way in six counters and gives those of a loop one of
// them, so that waiting for the oldest load means waiting for all.
//
// What the next kernel's blocks find of shared memory decides how early its first weights come, so
// blocks take less where there are many to a multiprocessor. In a step this is ahead of registers
// for 16-bit weights, for rows that are coded here (code_rows.cuh), and for codes of large
// matrices; copies of small ones crowd what kernels that only make rows wait for (docs/kernels.md).
#include <algorithm>

#include "backend/cuda/kernels/async_copy.cuh"
#include "backend/cuda/kernels/linear_tile.cuh"

namespace iol::cuda {

/// The most tokens that take rings: the columns of an mma.
inline constexpr int kRingTokens = 8;

/// A stage of a warp's ring in shared memory: a block of K of its tiles' weights and, where they
/// are not in shared memory already, of the tokens' rows.
template <class Format, class Rows, int kTiles>
struct RingStage {
  static constexpr int kWeightBytes = kTiles * Format::kTileBytes;
  static constexpr int kRowBytes = Rows::kInShared ? 0 : kRingTokens * Format::kRowBytes;
  static constexpr int kBytes = kWeightBytes + kRowBytes;
};

/// Sums of one warp: its part of K, in a [16 rows, 8 tokens] tile of the mma. `ring`: kDepth stages
/// in shared memory - or as many as the part has blocks, when they are fewer - all on their way.
template <class Format, int kDepth, class Rows, int kTiles>
__device__ __forceinline__ void sum_ring(const LinearArgs& args, const Rows& made, int first_tile,
                                         int first_token, int part, std::byte* ring,
                                         typename Format::Sum (&sums)[kTiles][1]) {
  using Stage = RingStage<Format, Rows, kTiles>;
  const int lane = threadIdx.x % 32;
  const BlockRange range = part_blocks(args.matrix, part);
  const int blocks = range.end - range.begin;
  const std::byte* weights[kTiles];
#pragma unroll
  for (int t = 0; t < kTiles; ++t)
    weights[t] = tile_weights<Format>(args, first_tile + t) +
                 static_cast<std::int64_t>(range.begin) * Format::kTileBytes + lane * 16;
  // Lanes read what they have copied themselves.
  const auto bring_weights = [&](std::byte* stage, int block) {
#pragma unroll
    for (int t = 0; t < kTiles; ++t) {
#pragma unroll
      for (int vector = 0; vector < Format::kTileBytes; vector += 512)
        copy_of_run(stage + t * Format::kTileBytes + vector + lane * 16,
                    weights[t] + static_cast<std::int64_t>(block) * Format::kTileBytes + vector);
    }
  };
  made.prepare();
  commit_copies();
#pragma unroll
  for (int d = 0; d < kDepth; ++d) {
    if (d < blocks) bring_weights(ring + d * Stage::kBytes, d);
    commit_copies();
  }
  let_next_start();
  wait_for_previous();
  made.template make_beside<kDepth>();
  // A block of rows is pieces of 16 bytes, which the lanes share out.
  const auto bring_rows = [&](std::byte* stage, int block) {
    constexpr int kPieces = Format::kRowBytes / 16;
#pragma unroll
    for (int first = 0; first < kRingTokens * kPieces; first += 32) {
      const int piece = first + lane;
      const int token = first_token + piece / kPieces;
      const bool present = token < args.epilogue.num_tokens;
      copy_of_run(stage + Stage::kWeightBytes + piece * 16,
                  made.row(present ? token : 0) + (range.begin + block) * Format::kRowBytes +
                      piece % kPieces * 16,
                  present);
    }
  };
  if constexpr (!Rows::kInShared) {
#pragma unroll
    for (int d = 0; d < kDepth; ++d) {
      if (d < blocks) bring_rows(ring + d * Stage::kBytes, d);
      commit_copies();
    }
  }
  std::byte* stage = ring;
#pragma unroll 1
  for (int block = 0; block < blocks; ++block) {
    wait_for_copies<kDepth - 1>();
    if constexpr (!Rows::kInShared) __syncwarp();  // other lanes' copies are here
    typename Format::Weights w[kTiles];
#pragma unroll
    for (int t = 0; t < kTiles; ++t)
      w[t] = Format::shared_weights(stage + t * Format::kTileBytes + lane * 16);
    const std::byte* row = stage + Stage::kWeightBytes + lane / 4 * Format::kRowBytes;
    if (Rows::kInShared) row = made.row(0) + (range.begin + block) * Format::kRowBytes;
    typename Format::Row x = {};
    if (!Rows::kInShared || lane < 4)
      x = made.template load<Format>(row + lane % 4 * Format::kRunBytes);
#pragma unroll
    for (int t = 0; t < kTiles; ++t)
      Format::multiply(args, first_tile + t, first_token, range.begin + block, w[t], x, sums[t][0]);
    if constexpr (!Rows::kInShared) __syncwarp();  // nobody reads the stage any more
    if (block + kDepth < blocks) {
      bring_weights(stage, block + kDepth);
      if constexpr (!Rows::kInShared) bring_rows(stage, block + kDepth);
    }
    commit_copies();
    stage = stage == ring + (kDepth - 1) * Stage::kBytes ? ring : stage + Stage::kBytes;
  }
}

/// A block's rows of the matrix for its tokens. `rings`: of its warps, `ring_bytes` each; the sums
/// of the parts, kPartsBytes, take their place.
template <class Format, int kTiles, int kDepth, class Rows>
__device__ __forceinline__ void multiply_ring_block(const LinearArgs& args, const Rows& made,
                                                    const FewFinish<Format, kTiles>& finish,
                                                    std::byte* rings, int ring_bytes) {
  const int first_tile = blockIdx.x * kTiles;
  const int first_token = blockIdx.y * kRingTokens;
  const int part = threadIdx.x / 32;
  static_assert(kNumParts * RingStage<Format, Rows, kTiles>::kBytes >= kPartsBytes<kTiles, 1>);
  typename Format::Sum sums[kTiles][1] = {};
  sum_ring<Format, kDepth>(args, made, first_tile, first_token, part, rings + part * ring_bytes,
                           sums);
  __syncthreads();
  auto* parts = reinterpret_cast<float*>(rings);
  store_part<Format>(sums, parts + part * (kPartsBytes<kTiles, 1> / kNumParts / 4));
  __syncthreads();
  finish.finish(parts);
}

template <class Format, template <class> class Rows, int kTiles, int kDepth>
__global__ void __launch_bounds__(32 * kNumParts)
    linear_ring_kernel(const __grid_constant__ LinearArgs args, int ring_bytes) {
  extern __shared__ uint4 shared_memory[];
  auto finish = block_finish<Format, kTiles, 1>(args);
  const Rows<decltype(finish)> made = {args, finish};
  multiply_ring_block<Format, kTiles, kDepth>(
      args, made, finish, reinterpret_cast<std::byte*>(shared_memory), ring_bytes);
}

/// True when the matrix's weights come through rings; of a Format with kTakesRing.
template <class Format>
bool takes_ring(const MatrixView& matrix) {
  constexpr int kLarge = 4096;  // rows and columns
  return !is_code(Format::kOperand) || (matrix.rows >= kLarge && matrix.columns >= kLarge);
}

/// Bytes of a warp's ring of kDepth stages, or of as many as a part has blocks.
template <class Format, class Rows, int kTiles, int kDepth>
int ring_bytes_of(const MatrixView& matrix) {
  int most = 1;
  for (int part = 0; part < kNumParts; ++part) {
    const BlockRange range = part_blocks(matrix, part);
    most = std::max(most, range.end - range.begin);
  }
  return std::min(most, kDepth) * RingStage<Format, Rows, kTiles>::kBytes;
}

/// True when so many blocks of `bytes` leave room for the next kernel's.
inline bool leaves_room(int num_blocks, int bytes) {
  constexpr double kProcessorBytes = 226 * 1024;
  constexpr int kLeastBlockBytes = 99 * 1024;  // what a block may have on every card (8.6)
  if (!takes_hopper_kernels() && bytes > kLeastBlockBytes) return false;
  return static_cast<double>(num_blocks) * bytes <= kProcessorBytes * multiprocessors();
}

/// With rings of kDepth stages, or of the first other depth that leaves room, or of the last.
template <class Format, template <class> class Rows, int kTiles, int kDepth, int... kOthers>
void launch_ring(const LinearTask& task, StreamHandle stream) {
  const int ring_bytes =
      ring_bytes_of<Format, Rows<FewFinish<Format, kTiles>>, kTiles, kDepth>(task.matrix);
  const int bytes = kNumParts * ring_bytes;
  const dim3 grid(task.matrix.rows / (kTiles * kTileRows));
  if constexpr (sizeof...(kOthers) > 0) {
    if (!leaves_room(static_cast<int>(grid.x), bytes))
      return launch_ring<Format, Rows, kTiles, kOthers...>(task, stream);
  }
  auto* kernel = linear_ring_kernel<Format, Rows, kTiles, kDepth>;
  launch_kernel(kernel, grid, 32 * kNumParts, bytes, stream, linear_args<Format>(task), ring_bytes);
}

/// At most kRingTokens tokens.
template <class Format, template <class> class Rows = MadeBefore>
void launch_ring(const LinearTask& task, StreamHandle stream) {
  task.epilogue == Epilogue::kSwiGlu  // gate and up in one block
      ? launch_ring<Format, Rows, 2, 4, 3, 2>(task, stream)
      : launch_ring<Format, Rows, 1, 8, 6, 4, 2>(task, stream);
}

}  // namespace iol::cuda
