#pragma once
// What every kernel of products is given, and what a token's sums are multiplied by.
#include "backend/cuda/kernels/epilogue.cuh"
#include "backend/cuda/kernels/operand_rows.cuh"

namespace iol::cuda {

/// Numbers of rows of x.
enum class OperandNumber : std::uint8_t { kBf16, kF16, kInt8, kFp8 };

IOL_HOST_DEVICE constexpr bool is_code(OperandNumber number) {
  return number == OperandNumber::kInt8 || number == OperandNumber::kFp8;
}

struct LinearArgs {
  MatrixView matrix;
  const std::byte* weights;
  const std::byte* x;
  std::int64_t x_row_bytes;
  const float* x_scales;
  const std::int32_t* x_sums;
  const SquareSum* x_squares;
  const std::uint32_t* x_largest;
  float eps;
  EpilogueArgs epilogue;
};

template <class Format>
LinearArgs linear_args(const LinearTask& task) {
  return {task.matrix,
          static_cast<const std::byte*>(task.matrix.data),
          static_cast<const std::byte*>(task.x.values),
          static_cast<std::int64_t>(task.matrix.padded_columns) * Format::kOperandBytes,
          task.x.scales,
          task.x.sums,
          task.x.squares,
          task.x.largest,
          task.x.eps,
          epilogue_args(task)};
}

/// Of a Format with kHasTokenScales; else 1. The token is there.
template <class Format>
__device__ __forceinline__ float token_scale_of(const LinearArgs& args, int token) {
  if constexpr (!Format::kHasTokenScales) {
    return 1;
  } else if constexpr (is_code(Format::kOperand)) {
    return args.x_scales[token];
  } else {
    return args.x_squares != nullptr
               ? norm_factor(args.x_squares[token], args.matrix.columns, args.eps)
               : 1.0F;
  }
}

/// A sum over K of one token and one row of the matrix, with their scales.
template <class Format>
__device__ __forceinline__ float scaled_sum(const LinearArgs& args, int token, int row,
                                            typename Format::Part sum) {
  float row_scale = 0;
  if constexpr (Format::kHasRowScales) row_scale = args.matrix.scales[row];
  return Format::scaled(sum, token_scale_of<Format>(args, token), row_scale);
}

}  // namespace iol::cuda
