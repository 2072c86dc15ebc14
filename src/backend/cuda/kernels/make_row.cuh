#pragma once
// What products of one token share that make its left operand themselves, in the shared memory of
// each block that multiplies it: codes (make_row_codes.cuh), numbers of 16 bits
// (make_row_halves.cuh). Quicker than a kernel of its own before the product, which keeps one
// multiprocessor busy while the memory waits. (For two tokens it is slower already: every block
// makes them all.) The bits are those of prepare_rows.cu.
#include "backend/cuda/kernels/linear_tile.cuh"
#include "backend/cuda/kernels/operand_rows.cuh"

namespace iol::cuda {

template <class Format>
IOL_HOST_DEVICE constexpr int made_row_bytes(const MatrixView& matrix) {
  return (matrix.padded_columns * Format::kOperandBytes + 15) / 16 * 16;
}
/// Bytes of shared memory that a row and its norm's weights take, the norm behind the row.
template <class Format>
int making_bytes(const LinearTask& task) {
  return made_row_bytes<Format>(task.matrix) +
         (task.x.source.norm != nullptr ? task.matrix.columns * 4 : 0);
}

/// The largest magnitude of a row, by a whole warp: of what was left of it, or of all of it.
__device__ __forceinline__ float row_largest(const RowSource& source, int columns) {
  const int lane = threadIdx.x % 32;
  float largest = 0;
  if (source.traits.largest != nullptr) {
#pragma unroll 4
    for (int i = lane; i < source.traits.num_largest; i += 32)
      largest = fmaxf(largest, source.traits.largest[i]);
  } else {
    for (int at = 4 * lane; at < columns; at += 4 * 32)
      largest = fmaxf(largest, largest_of(load_four(source.x, source.element, 0, at, columns)));
  }
  return warp_largest(largest);
}

/// Numbers `at` .. `at` + 3 of a row, to their place in `row`.
template <class Format>
__device__ __forceinline__ void store_codes(std::byte* row, int at, const float4& v,
                                            const RowCoder& coder) {
  if constexpr (Format::kOperand == OperandNumber::kFp8) {
    uint2 wide;
    e4m3_to_f16(coder.codes(v), wide.x, wide.y);
    *reinterpret_cast<uint2*>(row + at * 2) = wide;
  } else {
    *reinterpret_cast<std::uint32_t*>(row + at) = coder.codes(v);
  }
}
template <class Format>
__device__ __forceinline__ void store_halves(std::byte* row, int at, const float4& v) {
  uint2 pairs;
  if constexpr (Format::kOperand == OperandNumber::kBf16) {
    pairs = {to_bf16_pair(v.x, v.y), to_bf16_pair(v.z, v.w)};
  } else {
    pairs = {to_f16_pair(v.x, v.y), to_f16_pair(v.z, v.w)};
  }
  *reinterpret_cast<uint2*>(row + at * 2) = pairs;
}

}  // namespace iol::cuda
