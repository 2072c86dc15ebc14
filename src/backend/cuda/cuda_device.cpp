#include "backend/cuda/cuda_device.h"

#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include "backend/cuda/cuda_error.h"
#include "backend/cuda/device_memory.h"

namespace iol {
namespace {

// Binary code is made for 8.0 to 9.0.
constexpr int kLeastCapability = 80;
constexpr int kMostCapability = 90;

std::string version_text(int version) {
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

std::string uuid_text(const cudaUUID_t& uuid) {
  std::string text = "GPU";
  for (int i = 0; i < 16; ++i) {
    if (i == 0 || i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += fmt::format("{:02x}", static_cast<unsigned char>(uuid.bytes[i]));
  }
  return text;
}

std::string reason_of(cudaError_t status, int driver_version) {
  if (driver_version == 0) return "no NVIDIA driver on this machine";
  if (status == cudaErrorInsufficientDriver) {
    return fmt::format("the NVIDIA driver supports CUDA {}, this build needs {} or later",
                       version_text(driver_version), version_text(CUDART_VERSION));
  }
  if (status == cudaErrorNoDevice) return "no NVIDIA GPU on this machine";
  return fmt::format("CUDA: {}", cudaGetErrorString(status));
}

CudaDevice describe(int index, const cudaDeviceProp& properties) {
  CudaDevice device;
  device.index = index;
  device.name = properties.name;
  device.uuid = uuid_text(properties.uuid);
  device.capability = properties.major * 10 + properties.minor;
  device.memory_bytes = static_cast<std::int64_t>(properties.totalGlobalMem);
  device.num_multiprocessors = properties.multiProcessorCount;
  device.l2_cache_bytes = properties.l2CacheSize;
  return device;
}

CudaStatus look_up() {
  CudaStatus status;
  status.runtime = version_text(CUDART_VERSION);
  int driver_version = 0;
  if (cudaDriverGetVersion(&driver_version) != cudaSuccess) driver_version = 0;
  if (driver_version != 0) status.driver = version_text(driver_version);
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess || count == 0) {
    static_cast<void>(cudaGetLastError());
    status.reason = reason_of(error == cudaSuccess ? cudaErrorNoDevice : error, driver_version);
    return status;
  }
  for (int index = 0; index < count; ++index) {
    cudaDeviceProp properties{};
    if (cudaGetDeviceProperties(&properties, index) != cudaSuccess) continue;
    const CudaDevice device = describe(index, properties);
    if (device.capability >= kLeastCapability && device.capability <= kMostCapability) {
      status.devices.push_back(device);
    } else {
      status.reason = fmt::format("{} has compute capability {}.{}; this build runs on 8.0 to 9.0",
                                  device.name, device.capability / 10, device.capability % 10);
    }
  }
  if (!status.devices.empty()) status.reason.clear();
  return status;
}

}  // namespace

const CudaStatus& cuda_status() {
  static const CudaStatus status = look_up();
  return status;
}

std::int64_t cuda_free_bytes(int index) {
  cuda::check(cudaSetDevice(index), "selecting the GPU");
  return static_cast<std::int64_t>(cuda::free_bytes());
}

}  // namespace iol
