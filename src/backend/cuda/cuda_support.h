#pragma once
// Which drivers and GPUs this build can use, and what is said of others.
#include <cuda_runtime_api.h>

#include <string>

namespace iol::cuda {

/// "13.0" for 13000, as CUDA counts versions.
std::string version_text(int version);

/// Why there is no GPU, when looking for one gave `status`. `driver_version`: the CUDA version that
/// the driver supports; 0: there is no driver.
std::string why_no_device(cudaError_t status, int driver_version);

/// Why a GPU can't be used; empty when it can. `capability`: 90 is 9.0.
std::string why_not_this_device(const std::string& name, int capability);

}  // namespace iol::cuda
