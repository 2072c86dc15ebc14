#pragma once
// x W^T with tensor cores, for many tokens: a block of eight warps makes 128 rows for 128 tokens,
// each warp 32 rows for 64 tokens. Weights and rows of x pass through a ring of stages in shared
// memory, filled by asynchronous copies.
//
// Sums are made in the order of linear_tile.cuh - the parts of K one after the other, each from
// zero, added in ascending order - so that both give the same bits.
#include "backend/cuda/kernels/async_copy.cuh"
#include "backend/cuda/kernels/linear_tile.cuh"

namespace iol::cuda {

inline constexpr int kWideTiles = 8;  // of 16 rows
inline constexpr int kWideTokens = 128;
inline constexpr int kWideThreads = 256;
inline constexpr int kWarpTiles = 2;
inline constexpr int kWarpColumns = 8;  // of 8 tokens

/// A stage: one block of K, [tile] of weights, then [token] of rows.
template <class Format>
struct WideStage {
  static constexpr int kWeightBytes = kWideTiles * Format::kTileBytes;
  static constexpr int kBytes = kWeightBytes + kWideTokens * Format::kRowBytes;
  static constexpr int kStages = kBytes > 16384 ? 4 : 5;

  /// Starts to bring block `block` of K to `stage`.
  static __device__ __forceinline__ void fill(const LinearArgs& args, int first_tile,
                                              int first_token, int block, std::byte* stage) {
    const int blocks = num_blocks(args.matrix);
    const int num_tiles = args.matrix.rows / kTileRows;
    constexpr int kTileVectors = Format::kTileBytes / 16;
    for (int i = threadIdx.x; i < kWideTiles * kTileVectors; i += kWideThreads) {
      const int tile = first_tile + i / kTileVectors;
      const bool present = tile < num_tiles;
      copy_of_run(stage + i * 16,
                  args.weights +
                      (static_cast<std::int64_t>(present ? tile : 0) * blocks + block) *
                          Format::kTileBytes +
                      i % kTileVectors * 16,
                  present);
    }
    constexpr int kRowVectors = Format::kRowBytes / 16;
    for (int i = threadIdx.x; i < kWideTokens * kRowVectors; i += kWideThreads) {
      const int token = first_token + i / kRowVectors;
      const bool present = token < args.epilogue.num_tokens;
      copy_of_run(stage + kWeightBytes + i * 16,
                  args.x + (present ? token : 0) * args.x_row_bytes +
                      static_cast<std::int64_t>(block) * Format::kRowBytes + i % kRowVectors * 16,
                  present);
    }
  }
};

template <class Format>
using WideSums = typename Format::Sum[kWarpTiles][kWarpColumns];
template <class Format>
using WideTotals = typename Format::Part[kWarpTiles][kWarpColumns][4];

/// totals += sums; sums = 0
template <class Format>
__device__ __forceinline__ void close_part(WideSums<Format>& sums, WideTotals<Format>& totals) {
#pragma unroll
  for (int t = 0; t < kWarpTiles; ++t) {
#pragma unroll
    for (int c = 0; c < kWarpColumns; ++c) {
#pragma unroll
      for (int i = 0; i < 4; ++i) totals[t][c][i] += Format::part(Format::bits(sums[t][c], i));
      sums[t][c] = {};
    }
  }
}

template <class Format>
__device__ __forceinline__ void multiply_stage(const LinearArgs& args, int tile, int token,
                                               int block, const std::byte* stage,
                                               WideSums<Format>& sums) {
  const int lane = threadIdx.x % 32;
  const int warp = threadIdx.x / 32;
  typename Format::Weights weights[kWarpTiles];
#pragma unroll
  for (int t = 0; t < kWarpTiles; ++t)
    weights[t] = Format::shared_weights(stage + (warp % 4 * kWarpTiles + t) * Format::kTileBytes +
                                        lane * 16);
#pragma unroll
  for (int c = 0; c < kWarpColumns; ++c) {
    const int row = warp / 4 * 64 + c * 8 + lane / 4;
    const auto x = Format::load_row(stage + WideStage<Format>::kWeightBytes +
                                    row * Format::kRowBytes + lane % 4 * Format::kRunBytes);
#pragma unroll
    for (int t = 0; t < kWarpTiles; ++t)
      Format::multiply(args, tile + t, token + c * 8, block, weights[t], x, sums[t][c]);
  }
}

template <class Format>
__device__ __forceinline__ void finish_wide(const LinearArgs& args, int tile, int token,
                                            const WideTotals<Format>& totals) {
  const int lane = threadIdx.x % 32;
  const EpilogueArgs& epilogue = args.epilogue;
#pragma unroll
  for (int c = 0; c < kWarpColumns; ++c) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int m = token + c * 8 + lane % 4 * 2 + i % 2;
      const int row = tile * kTileRows + lane / 4 + i / 2 * 8;
      const bool present = m < epilogue.num_tokens;
      float value[kWarpTiles];
#pragma unroll
      for (int t = 0; t < kWarpTiles; ++t)
        value[t] =
            present ? scaled_sum<Format>(args, m, row + t * kTileRows, totals[t][c][i]) : 0.0F;
      if (epilogue.kind == Epilogue::kSwiGlu) {
        finish_gated(epilogue, m, row, value[0], value[1]);
        continue;
      }
#pragma unroll
      for (int t = 0; t < kWarpTiles; ++t) {
        const int column = row + t * kTileRows;
        finish(epilogue, m, column, value[t]);
        if (epilogue.kind != Epilogue::kLogits) continue;
        unsigned long long key =
            present && column < epilogue.out_columns ? best_key(value[t], column) : 0ULL;
#pragma unroll
        for (int offset = 4; offset < 32; offset *= 2) {
          const unsigned long long other = __shfl_xor_sync(0xffffffffU, key, offset);
          key = other > key ? other : key;
        }
        if (lane < 4 && key != 0) atomicMax(epilogue.best + m, key);
      }
    }
  }
}

template <class Format>
__global__ void __launch_bounds__(kWideThreads, 1) linear_wide_kernel(LinearArgs args) {
  extern __shared__ uint4 stages[];
  using Stage = WideStage<Format>;
  constexpr int kStages = Stage::kStages;
  auto* memory = reinterpret_cast<std::byte*>(stages);
  const int first_tile = blockIdx.x * kWideTiles;
  const int first_token = blockIdx.y * kWideTokens;
  const int warp = threadIdx.x / 32;
  const int tile = first_tile + warp % 4 * kWarpTiles;
  const int token = first_token + warp / 4 * 64;
  const int blocks = num_blocks(args.matrix);
  let_next_start();
  wait_for_previous();
#pragma unroll
  for (int s = 0; s < kStages - 1; ++s) {
    if (s < blocks) Stage::fill(args, first_tile, first_token, s, memory + s * Stage::kBytes);
    commit_copies();
  }
  WideSums<Format> sums = {};
  WideTotals<Format> totals = {};
  int part = 0;
  int part_end = part_blocks(args.matrix, 0).end;
  for (int block = 0; block < blocks; ++block) {
    wait_for_copies<kStages - 2>();
    __syncthreads();  // the block is here, and the one before it is done with
    const int next = block + kStages - 1;
    if (next < blocks)
      Stage::fill(args, first_tile, first_token, next, memory + next % kStages * Stage::kBytes);
    commit_copies();
    while (part_end <= block) {  // also the empty ones
      close_part<Format>(sums, totals);
      part_end = part_blocks(args.matrix, ++part).end;
    }
    if (tile * kTileRows < args.matrix.rows)
      multiply_stage<Format>(args, tile, token, block, memory + block % kStages * Stage::kBytes,
                             sums);
  }
  close_part<Format>(sums, totals);
  if (tile * kTileRows < args.matrix.rows) finish_wide<Format>(args, tile, token, totals);
}

template <class Format>
void launch_wide(const LinearTask& task, StreamHandle stream) {
  using Stage = WideStage<Format>;
  constexpr int kSharedBytes = Stage::kStages * Stage::kBytes;
  auto* kernel = linear_wide_kernel<Format>;
  const LinearArgs args = linear_args<Format>(task);
  const dim3 grid((task.matrix.rows / kTileRows + kWideTiles - 1) / kWideTiles,
                  (task.num_tokens + kWideTokens - 1) / kWideTokens);
  launch_kernel(kernel, grid, kWideThreads, kSharedBytes, stream, args);
}

}  // namespace iol::cuda
