#include "backend/cuda/kernels/shared_bytes.h"

#include <cuda_runtime_api.h>

#include <map>
#include <mutex>
#include <utility>

namespace iol::cuda {
namespace {

// What every kernel may have: 48 KB, less what is the system's and some for static variables.
constexpr int kUnasked = 46 * 1024;

}  // namespace

void allow_shared_bytes(const void* kernel, int bytes) {
  if (bytes <= kUnasked) return;
  static std::mutex mutex;
  static std::map<std::pair<int, const void*>, int> allowed;  // bytes, by device and kernel
  int device = 0;
  if (cudaGetDevice(&device) != cudaSuccess) return;
  const std::lock_guard lock(mutex);
  int& most = allowed[{device, kernel}];
  if (bytes <= most) return;
  if (cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes) ==
      cudaSuccess)
    most = bytes;
}

}  // namespace iol::cuda
