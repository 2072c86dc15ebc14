#pragma once
#include <cuda_runtime_api.h>

#include <string>
#include <string_view>

#include "base/error.h"

namespace iol::cuda {

/// A call of the CUDA runtime that failed: what was being done, and what the runtime says.
class CudaError : public ResourceError {
 public:
  using ResourceError::ResourceError;
};

/// The device has not enough memory for something: now, perhaps, and for this alone.
class CudaOutOfMemory : public CudaError {
 public:
  using CudaError::CudaError;
};

/// True for errors after which every call of this process fails: its context is void.
constexpr bool loses_device(cudaError_t status) {
  switch (status) {
    case cudaErrorIllegalAddress:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorHardwareStackError:
    case cudaErrorAssert:
    case cudaErrorLaunchFailure:
    case cudaErrorLaunchTimeout:
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorContained:
    case cudaErrorDevicesUnavailable:
    case cudaErrorNoDevice:
    case cudaErrorUnknown:
      return true;
    default:
      return false;
  }
}

/// "CUDA: <what> failed: <the runtime's words>", as DeviceError, CudaOutOfMemory or CudaError, when
/// `status` is an error.
inline void check(cudaError_t status, std::string_view what) {
  if (status == cudaSuccess) return;
  static_cast<void>(cudaGetLastError());  // an error that isn't sticky is ours alone
  const std::string message = fmt::format("CUDA: {} failed: {}", what, cudaGetErrorString(status));
  if (loses_device(status)) throw DeviceError(message);
  if (status == cudaErrorMemoryAllocation) throw CudaOutOfMemory(message);
  throw CudaError(message);
}

/// Of the kernels launched since the last check.
inline void check_launch(std::string_view what) { check(cudaGetLastError(), what); }

}  // namespace iol::cuda
