#include "backend/cuda/cuda_support.h"

#include <fmt/format.h>

namespace iol::cuda {
namespace {

// Binary code is made for 8.0 to 9.0.
constexpr int kLeastCapability = 80;
constexpr int kMostCapability = 90;

}  // namespace

std::string version_text(int version) {
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

std::string why_no_device(cudaError_t status, int driver_version) {
  if (driver_version == 0) return "no NVIDIA driver on this machine";
  if (status == cudaErrorInsufficientDriver) {
    return fmt::format("the NVIDIA driver supports CUDA {}, this build needs {} or later",
                       version_text(driver_version), version_text(CUDART_VERSION));
  }
  if (status == cudaErrorNoDevice) return "no NVIDIA GPU on this machine";
  return fmt::format("CUDA: {}", cudaGetErrorString(status));
}

std::string why_not_this_device(const std::string& name, int capability) {
  if (capability >= kLeastCapability && capability <= kMostCapability) return {};
  return fmt::format("{} has compute capability {}.{}; this build runs on 8.0 to 9.0", name,
                     capability / 10, capability % 10);
}

}  // namespace iol::cuda
