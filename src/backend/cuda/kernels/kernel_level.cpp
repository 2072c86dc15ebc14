#include "backend/cuda/kernels/kernel_level.h"

#include <cuda_runtime_api.h>

#include <cstdlib>
#include <string_view>

#include "base/error.h"

namespace iol::cuda {
namespace {

constexpr const char* kVariable = "IOL_CUDA_KERNELS";

std::string_view level_asked_for() {
  const char* value = std::getenv(kVariable);
  return value != nullptr ? value : "auto";
}

/// Of the current device; `unknown` when it can't be asked.
int attribute(cudaDeviceAttr which, int unknown) {
  int device = 0;
  int value = 0;
  const bool is_known = cudaGetDevice(&device) == cudaSuccess &&
                        cudaDeviceGetAttribute(&value, which, device) == cudaSuccess;
  return is_known ? value : unknown;
}

}  // namespace

bool takes_hopper_kernels() {
  return level_asked_for() != "portable" && attribute(cudaDevAttrComputeCapabilityMajor, 0) == 9;
}

int multiprocessors() { return attribute(cudaDevAttrMultiProcessorCount, 1); }

int shared_bytes_of_multiprocessor() {
  return attribute(cudaDevAttrMaxSharedMemoryPerMultiprocessor, 0);
}

int most_shared_bytes_of_block() { return attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, 0); }

bool is_shared_with_processes() { return attribute(cudaDevAttrMpsEnabled, 1) != 0; }

void check_kernel_level() {
  const std::string_view level = level_asked_for();
  if (level != "auto" && level != "portable")
    throw_input_error("{} is '{}'; expected auto or portable", kVariable, level);
}

}  // namespace iol::cuda
