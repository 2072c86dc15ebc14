// x W^T in f32 without tensor cores: weights are plain rows of f32 or int8. A thread makes the sums
// of four rows of W for one token, over k in ascending order.
//   int8: out[m][n] = (sum over k of x[m][k] w[n][k]) * scales[n]
#include "backend/cuda/kernels/epilogue.cuh"

namespace iol::cuda {
namespace {

constexpr int kRows = 64;    // of W in a block
constexpr int kTokens = 16;  // in a block
constexpr int kDepth = 32;   // of K at a time
constexpr int kThreads = 256;
constexpr int kRowsPerThread = kRows * kTokens / kThreads;

struct RowsArgs {
  MatrixView matrix;
  const float* x;
  EpilogueArgs epilogue;
};

template <bool kInt8>
__device__ float weight_at(const MatrixView& matrix, int row, int k) {
  if (k >= matrix.padded_columns) return 0.0F;
  const std::int64_t at = static_cast<std::int64_t>(row) * matrix.padded_columns + k;
  if constexpr (kInt8) return static_cast<float>(static_cast<const std::int8_t*>(matrix.data)[at]);
  return static_cast<const float*>(matrix.data)[at];
}

/// Stores a token's four rows, as its epilogue says; `row` is the first.
__device__ void finish_four(const RowsArgs& args, int token, int row, const float* sums) {
  for (int i = 0; i < kRowsPerThread; ++i) {
    const int column = row + i * (kRows / kRowsPerThread);
    finish(args.epilogue, token, column, sums[i]);
    if (args.epilogue.kind == Epilogue::kLogits && token < args.epilogue.num_tokens &&
        column < args.epilogue.out_columns)
      atomicMax(args.epilogue.best + token, best_key(sums[i], column));
  }
}

template <bool kInt8>
__global__ void __launch_bounds__(kThreads) linear_rows_kernel(RowsArgs args) {
  __shared__ float weights[kRows][kDepth + 1];
  __shared__ float rows[kTokens][kDepth + 1];
  const int first_row = blockIdx.x * kRows;
  const int first_token = blockIdx.y * kTokens;
  const int token = threadIdx.x / kTokens;
  const int lane = threadIdx.x % kTokens;  // rows lane, lane + 16, + 32, + 48
  float sums[kRowsPerThread] = {};
  let_next_start();
  wait_for_previous();
  const int columns = args.matrix.padded_columns;
  for (int k = 0; k < columns; k += kDepth) {
    for (int i = threadIdx.x; i < kRows * kDepth; i += kThreads)
      weights[i / kDepth][i % kDepth] =
          weight_at<kInt8>(args.matrix, first_row + i / kDepth, k + i % kDepth);
    for (int i = threadIdx.x; i < kTokens * kDepth; i += kThreads) {
      const int t = first_token + i / kDepth;
      const int column = k + i % kDepth;
      rows[i / kDepth][i % kDepth] = t < args.epilogue.num_tokens && column < columns
                                         ? args.x[static_cast<std::int64_t>(t) * columns + column]
                                         : 0.0F;
    }
    __syncthreads();
#pragma unroll
    for (int d = 0; d < kDepth; ++d) {
#pragma unroll
      for (int i = 0; i < kRowsPerThread; ++i)
        sums[i] = __fmaf_rn(rows[token][d], weights[lane + i * 16][d], sums[i]);
    }
    __syncthreads();
  }
  if constexpr (kInt8) {
    for (int i = 0; i < kRowsPerThread; ++i)
      sums[i] = __fmul_rn(sums[i], args.matrix.scales[first_row + lane + i * 16]);
  }
  if (args.epilogue.kind == Epilogue::kSwiGlu) {  // rows lane and lane + 16 are gate and up
    finish_gated(args.epilogue, first_token + token, first_row + lane, sums[0], sums[1]);
    finish_gated(args.epilogue, first_token + token, first_row + lane + 32, sums[2], sums[3]);
  } else {
    finish_four(args, first_token + token, first_row + lane, sums);
  }
}

}  // namespace

void linear_rows(const LinearTask& task, StreamHandle stream) {
  const RowsArgs args = {task.matrix, static_cast<const float*>(task.x.values),
                         epilogue_args(task)};
  const dim3 grid(task.matrix.rows / kRows, (task.num_tokens + kTokens - 1) / kTokens);
  if (task.matrix.layout == MatrixLayout::kInt8Rows) {
    launch_kernel(linear_rows_kernel<true>, grid, kThreads, 0, stream, args);
  } else {
    launch_kernel(linear_rows_kernel<false>, grid, kThreads, 0, stream, args);
  }
}

}  // namespace iol::cuda
