#pragma once
// How the copy engine sees operands in global memory (CUDA driver API, cuTensorMapEncodeTiled).
#include <cuda.h>

namespace iol::cuda {

/// A left operand: `num_rows` rows of `row_bytes` bytes, one behind the other, read in boxes of
/// `box_rows` rows by 128 bytes that are swizzled in shared memory. Throws CudaError.
CUtensorMap row_map(const void* rows, int row_bytes, int num_rows, int box_rows);

/// Packed weights: rows of `row_words` words of 8 bytes, read in boxes that lie in shared memory as
/// they are. Throws CudaError.
CUtensorMap word_map(const void* words, int row_words, int num_rows, int box_words, int box_rows);

}  // namespace iol::cuda
