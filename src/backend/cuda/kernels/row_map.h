#pragma once
// How the copy engine sees a left operand.
#include <cuda.h>

namespace iol::cuda {

/// A map of `num_rows` rows of `row_bytes` bytes, one behind the other, read in boxes of `box_rows`
/// rows by 128 bytes that are swizzled in shared memory (CUDA driver API, cuTensorMapEncodeTiled).
/// Throws CudaError.
CUtensorMap row_map(const void* rows, int row_bytes, int num_rows, int box_rows);

}  // namespace iol::cuda
