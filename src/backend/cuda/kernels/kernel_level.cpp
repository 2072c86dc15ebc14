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

}  // namespace

bool takes_hopper_kernels() {
  int device = 0;
  int major = 0;
  return level_asked_for() != "portable" && cudaGetDevice(&device) == cudaSuccess &&
         cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) == cudaSuccess &&
         major == 9;
}

int multiprocessors() {
  int device = 0;
  int count = 1;
  static_cast<void>(cudaGetDevice(&device));
  static_cast<void>(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device));
  return count;
}

void check_kernel_level() {
  const std::string_view level = level_asked_for();
  if (level != "auto" && level != "portable")
    throw_input_error("{} is '{}'; expected auto or portable", kVariable, level);
}

}  // namespace iol::cuda
