#pragma once
// x W^T with tensor cores, for few tokens: the weights are the left operand of the mma (16 rows),
// tokens its right one (8 columns).
//
// A block of eight warps makes kTiles x 16 rows for kColumns x 8 tokens; each warp sums up one part
// of K (kNumParts), the parts are added in ascending order through shared memory. Weights go from
// device memory straight into registers, where a ring of kDepth blocks is always on its way. The
// order of every sum depends on the matrix alone.
//
// A Format says what a block of 64 bytes of K is:
//   Sum, Weights, Row        accumulator; a lane's weights of a block; a lane's part of a token
//   load_weights, load_row   from memory
//   multiply(sum, w, x)      sum += w x over the block
//   scaled(sum, token's, row's)
//                            the sum over K as f32, with the scales that the format has
//   kHasRowScales, kHasTokenScales, kOperand
//                            whether it has those; numbers of a row of x
//   Made                     the format that takes a row made by the block, see make_row.cuh
//   kTakesRing               has the kernels of linear_ring.cuh
#include <type_traits>

#include "backend/cuda/kernels/finish_few.cuh"
#include "backend/cuda/kernels/finish_many.cuh"
#include "backend/cuda/kernels/mma.cuh"

namespace iol::cuda {

template <class Format>
__device__ __forceinline__ const std::byte* tile_weights(const LinearArgs& args, int tile) {
  return args.weights +
         static_cast<std::int64_t>(tile) * num_blocks(args.matrix) * Format::kTileBytes;
}

__device__ __forceinline__ uint4 load_streaming(const void* p) {
  uint4 v;
  asm("ld.global.nc.L1::no_allocate.L2::128B.v4.u32 {%0,%1,%2,%3}, [%4];"
      : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
      : "l"(p));
  return v;
}
__device__ __forceinline__ uint4 load_cached(const void* p) {
  return *static_cast<const uint4*>(p);
}

/// Where rows of x are: rows that a kernel before has made.
///   prepare()   before the kernels in front are over, all threads of the block
///   make()      behind that; loads what the block's finish needs
///   make_beside<kGroups>()
///               likewise, when so many groups of copies have been begun since prepare()
///   row(token)
///   load<Format>(p)
///               a lane's part of a row, for a block of K
template <class Finish>
struct MadeBefore {
  static constexpr bool kInShared = false;
  const LinearArgs& args;
  Finish& finish;
  __device__ __forceinline__ void prepare() const {}
  __device__ __forceinline__ void make() const { finish.load(); }
  template <int kGroups>
  __device__ __forceinline__ void make_beside() const {
    finish.load();
  }
  [[nodiscard]] __device__ __forceinline__ const std::byte* row(int token) const {
    return args.x + token * args.x_row_bytes;
  }
  template <class Format>
  [[nodiscard]] __device__ __forceinline__ typename Format::Row load(const std::byte* p) const {
    return Format::load_row(p);
  }
};

/// Sums of one warp: its part of K, in a [16 rows, 8 tokens] tile of the mma. kAhead: blocks of
/// tokens' rows on their way.
template <class Format, int kDepth, int kAhead, class Rows, int kTiles, int kColumns>
__device__ __forceinline__ void sum_part(const LinearArgs& args, const Rows& made, int first_tile,
                                         int first_token, int part,
                                         typename Format::Sum (&sums)[kTiles][kColumns]) {
  static_assert(kDepth % kAhead == 0);
  const int lane = threadIdx.x % 32;
  const BlockRange range = part_blocks(args.matrix, part);
  const std::byte* weights[kTiles];
#pragma unroll
  for (int t = 0; t < kTiles; ++t)
    weights[t] = tile_weights<Format>(args, first_tile + t) + lane * 16;
  typename Format::Weights ring[kDepth][kTiles];
  const auto load = [&](int d, int at) {
#pragma unroll
    for (int t = 0; t < kTiles; ++t)
      ring[d][t] =
          Format::load_weights(weights[t] + static_cast<std::int64_t>(at) * Format::kTileBytes);
  };
#pragma unroll
  for (int d = 0; d < kDepth; ++d)
    if (range.begin + d < range.end) load(d, range.begin + d);
  made.prepare();
  let_next_start();
  wait_for_previous();
  made.make();
  const std::byte* rows[kColumns];
  bool present[kColumns];
#pragma unroll
  for (int c = 0; c < kColumns; ++c) {
    const int token = first_token + c * 8 + lane / 4;
    present[c] = token < args.epilogue.num_tokens;
    rows[c] = made.row(present[c] ? token : 0) + lane % 4 * Format::kRunBytes;
  }
  typename Format::Row x[kAhead][kColumns];
#pragma unroll
  for (int d = 0; d < kAhead; ++d) {
#pragma unroll
    for (int c = 0; c < kColumns; ++c) {
      x[d][c] = {};
      if (range.begin + d < range.end && present[c])
        x[d][c] = Format::load_row(rows[c] + (range.begin + d) * Format::kRowBytes);
    }
  }
  for (int block = range.begin; block < range.end; block += kDepth) {
#pragma unroll
    for (int d = 0; d < kDepth; ++d) {
      const int at = block + d;
      if (at < range.end) {
#pragma unroll
        for (int c = 0; c < kColumns; ++c) {
#pragma unroll
          for (int t = 0; t < kTiles; ++t)
            Format::multiply(args, first_tile + t, first_token + c * 8, at, ring[d][t],
                             x[d % kAhead][c], sums[t][c]);
        }
        if (at + kDepth < range.end) load(d, at + kDepth);
        if (at + kAhead < range.end) {
#pragma unroll
          for (int c = 0; c < kColumns; ++c)
            if (present[c])
              x[d % kAhead][c] = Format::load_row(rows[c] + (at + kAhead) * Format::kRowBytes);
        }
      }
    }
  }
}

/// The end of a block's rows and tokens.
template <class Format, int kTiles, int kColumns>
using BlockFinish = std::conditional_t<kColumns == 1, FewFinish<Format, kTiles>,
                                       ManyFinish<Format, kTiles, kColumns>>;

/// Bytes of the sums of all parts: [part][token][row], padded.
template <int kTiles, int kColumns>
inline constexpr int kPartsBytes = kNumParts* kColumns * 8 * (kTiles * kTileRows + 4) * 4;

/// The sums of a warp to shared memory, for a BlockFinish; `out`: of the warp's part.
template <class Format, int kTiles, int kColumns>
__device__ __forceinline__ void store_part(const typename Format::Sum (&sums)[kTiles][kColumns],
                                           float* out) {
  constexpr int kStride = kTiles * kTileRows + 4;
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int t = 0; t < kTiles; ++t) {
#pragma unroll
    for (int c = 0; c < kColumns; ++c) {
      float* place = out + (c * 8 + lane % 4 * 2) * kStride + t * kTileRows + lane / 4;
      place[0] = Format::bits(sums[t][c], 0);
      place[kStride] = Format::bits(sums[t][c], 1);
      place[8] = Format::bits(sums[t][c], 2);
      place[kStride + 8] = Format::bits(sums[t][c], 3);
    }
  }
}

/// A block's rows of the matrix for its tokens. `parts`: kPartsBytes of shared memory.
template <class Format, int kTiles, int kColumns, int kDepth, int kAhead, class Rows>
__device__ __forceinline__ void multiply_block(const LinearArgs& args, const Rows& made,
                                               const BlockFinish<Format, kTiles, kColumns>& finish,
                                               float* parts) {
  const int part = threadIdx.x / 32;
  typename Format::Sum sums[kTiles][kColumns] = {};
  sum_part<Format, kDepth, kAhead>(args, made, static_cast<int>(blockIdx.x) * kTiles,
                                   static_cast<int>(blockIdx.y) * kColumns * 8, part, sums);
  store_part<Format>(sums, parts + part * (kPartsBytes<kTiles, kColumns> / kNumParts / 4));
  __syncthreads();
  finish.finish(parts);
}

/// Of the block's rows and tokens.
template <class Format, int kTiles, int kColumns>
__device__ __forceinline__ BlockFinish<Format, kTiles, kColumns> block_finish(
    const LinearArgs& args) {
  return {args, static_cast<int>(blockIdx.x) * kTiles, static_cast<int>(blockIdx.y) * kColumns * 8};
}

template <class Format, int kTiles, int kColumns, int kDepth, int kMinBlocks>
__global__ void __launch_bounds__(32 * kNumParts, kMinBlocks)
    linear_kernel(const __grid_constant__ LinearArgs args) {
  extern __shared__ float parts[];
  constexpr int kAhead = kColumns <= 2 ? kDepth : kTiles == 1 && kColumns == 8 ? 1 : 2;
  auto finish = block_finish<Format, kTiles, kColumns>(args);
  const MadeBefore<decltype(finish)> made = {args, finish};
  multiply_block<Format, kTiles, kColumns, kDepth, kAhead>(args, made, finish, parts);
}

template <class Format, int kTiles, int kColumns, int kDepth, int kMinBlocks>
void launch_linear(const LinearTask& task, StreamHandle stream) {
  constexpr int kSharedBytes = kPartsBytes<kTiles, kColumns>;
  auto* kernel = linear_kernel<Format, kTiles, kColumns, kDepth, kMinBlocks>;
  const LinearArgs args = linear_args<Format>(task);
  const dim3 grid(task.matrix.rows / (kTiles * kTileRows),
                  (task.num_tokens + kColumns * 8 - 1) / (kColumns * 8));
  launch_kernel(kernel, grid, 32 * kNumParts, kSharedBytes, stream, args);
}

/// Chooses the shape of a block by the number of tokens.
template <class Format>
void launch_linear(const LinearTask& task, StreamHandle stream) {
  if (task.num_tokens <= 8) {
    // Gate and up in one block.
    task.epilogue == Epilogue::kSwiGlu ? launch_linear<Format, 2, 1, 2, 3>(task, stream)
                                       : launch_linear<Format, 1, 1, 8, 2>(task, stream);
  } else if (task.num_tokens <= 16) {
    launch_linear<Format, 2, 2, 4, 2>(task, stream);
  } else if (task.num_tokens <= 32) {
    launch_linear<Format, 2, 4, 4, 1>(task, stream);
  } else {
    launch_linear<Format, 2, 8, 2, 1>(task, stream);
  }
}

}  // namespace iol::cuda
