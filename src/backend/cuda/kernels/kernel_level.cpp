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

/// What launches ask for, of one device; as below where it can't be asked.
struct Attributes {
  int device = -1;
  int major = 0;
  int multiprocessors = 1;
  int shared_bytes_of_multiprocessor = 0;
  int most_shared_bytes_of_block = 0;
  int is_shared_with_processes = 1;

  explicit Attributes(int of_device) : device(of_device) {
    ask(cudaDevAttrComputeCapabilityMajor, major);
    ask(cudaDevAttrMultiProcessorCount, multiprocessors);
    ask(cudaDevAttrMaxSharedMemoryPerMultiprocessor, shared_bytes_of_multiprocessor);
    ask(cudaDevAttrMaxSharedMemoryPerBlockOptin, most_shared_bytes_of_block);
    ask(cudaDevAttrMpsEnabled, is_shared_with_processes);
  }

 private:
  void ask(cudaDeviceAttr which, int& value) const {
    int answer = 0;
    if (device >= 0 && cudaDeviceGetAttribute(&answer, which, device) == cudaSuccess)
      value = answer;
  }
};

/// Of the current device.
const Attributes& attributes() {
  int device = 0;
  if (cudaGetDevice(&device) != cudaSuccess) device = -1;
  thread_local Attributes latest(device);
  if (latest.device != device) latest = Attributes(device);
  return latest;
}

}  // namespace

bool takes_hopper_kernels() { return level_asked_for() != "portable" && attributes().major == 9; }

int multiprocessors() { return attributes().multiprocessors; }

int shared_bytes_of_multiprocessor() { return attributes().shared_bytes_of_multiprocessor; }

int most_shared_bytes_of_block() { return attributes().most_shared_bytes_of_block; }

bool is_shared_with_processes() { return attributes().is_shared_with_processes != 0; }

void check_kernel_level() {
  const std::string_view level = level_asked_for();
  if (level != "auto" && level != "portable")
    throw_input_error("{} is '{}'; expected auto or portable", kVariable, level);
}

}  // namespace iol::cuda
