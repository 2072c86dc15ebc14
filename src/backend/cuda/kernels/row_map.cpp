#include "backend/cuda/kernels/row_map.h"

#include <cudaTypedefs.h>
#include <cuda_runtime_api.h>

#include "backend/cuda/cuda_error.h"

namespace iol::cuda {
namespace {

/// The driver's function; the program isn't linked with the driver.
PFN_cuTensorMapEncodeTiled_v12000 encode_function() {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found{};
  check(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000,
                                         cudaEnableDefault, &found),
        "looking up cuTensorMapEncodeTiled");
  if (found != cudaDriverEntryPointSuccess)
    throw CudaError("the driver has no cuTensorMapEncodeTiled; update it");
  return reinterpret_cast<PFN_cuTensorMapEncodeTiled_v12000>(function);
}

struct Box {
  CUtensorMapDataType type;
  int element_bytes;
  CUtensorMapSwizzle swizzle;
  int columns;
  int rows;
};

/// Of a plain matrix of `columns` by `rows` elements.
CUtensorMap map_of(const void* data, int columns, int rows, const Box& box) {
  static const auto encode = encode_function();
  CUtensorMap map;
  const cuuint64_t sizes[2] = {static_cast<cuuint64_t>(columns), static_cast<cuuint64_t>(rows)};
  const cuuint64_t strides[1] = {sizes[0] * static_cast<cuuint64_t>(box.element_bytes)};
  const cuuint32_t extents[2] = {static_cast<cuuint32_t>(box.columns),
                                 static_cast<cuuint32_t>(box.rows)};
  const cuuint32_t steps[2] = {1, 1};
  const CUresult result =
      encode(&map, box.type, 2, const_cast<void*>(data), sizes, strides, extents, steps,
             CU_TENSOR_MAP_INTERLEAVE_NONE, box.swizzle, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
             CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (result != CUDA_SUCCESS)
    throw CudaError(fmt::format("describing {} rows of {} x {} bytes to the copy engine: error {}",
                                rows, columns, box.element_bytes, static_cast<int>(result)));
  return map;
}

}  // namespace

CUtensorMap row_map(const void* rows, int row_bytes, int num_rows, int box_rows) {
  return map_of(rows, row_bytes, num_rows,
                {CU_TENSOR_MAP_DATA_TYPE_UINT8, 1, CU_TENSOR_MAP_SWIZZLE_128B, 128, box_rows});
}

CUtensorMap word_map(const void* words, int row_words, int num_rows, int box_words, int box_rows) {
  return map_of(
      words, row_words, num_rows,
      {CU_TENSOR_MAP_DATA_TYPE_UINT64, 8, CU_TENSOR_MAP_SWIZZLE_NONE, box_words, box_rows});
}

}  // namespace iol::cuda
