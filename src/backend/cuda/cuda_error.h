#pragma once
#include <cuda_runtime_api.h>

#include <string_view>

#include "base/error.h"

namespace iol::cuda {

/// A call of the CUDA runtime that failed: what was being done, and what the runtime says.
class CudaError : public ResourceError {
 public:
  using ResourceError::ResourceError;
};

/// Throws CudaError when `status` is an error: "CUDA: <what> failed: <the runtime's words>".
inline void check(cudaError_t status, std::string_view what) {
  if (status == cudaSuccess) return;
  static_cast<void>(cudaGetLastError());  // an error that isn't sticky is ours alone
  throw CudaError(fmt::format("CUDA: {} failed: {}", what, cudaGetErrorString(status)));
}

/// Of the kernels launched since the last check.
inline void check_launch(std::string_view what) { check(cudaGetLastError(), what); }

}  // namespace iol::cuda
