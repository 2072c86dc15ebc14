#pragma once
// What products of one token share that make its left operand themselves, in the shared memory of
// each block that multiplies it: codes (make_row_codes.cuh), numbers of 16 bits
// (make_row_halves.cuh). Quicker than a kernel of its own before the product, which keeps one
// multiprocessor busy while the memory waits. (For two tokens it is slower already: every block
// makes them all.) The bits are those of prepare_rows.cu.
#include "backend/cuda/kernels/linear_tile.cuh"
#include "backend/cuda/kernels/operand_rows.cuh"

namespace iol::cuda {

enum class OperandNumber : std::uint8_t { kBf16, kF16, kInt8, kFp8 };

IOL_HOST_DEVICE constexpr bool is_code(OperandNumber number) {
  return number == OperandNumber::kInt8 || number == OperandNumber::kFp8;
}

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

}  // namespace iol::cuda
