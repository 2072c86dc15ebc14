#include "backend/cuda/cuda_device.h"

#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include "backend/cuda/cuda_error.h"
#include "backend/cuda/cuda_support.h"
#include "backend/cuda/device_memory.h"

namespace iol {
namespace {

std::string uuid_text(const cudaUUID_t& uuid) {
  std::string text = "GPU";
  for (int i = 0; i < 16; ++i) {
    if (i == 0 || i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += fmt::format("{:02x}", static_cast<unsigned char>(uuid.bytes[i]));
  }
  return text;
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
  status.runtime = cuda::version_text(CUDART_VERSION);
  int driver_version = 0;
  if (cudaDriverGetVersion(&driver_version) != cudaSuccess) driver_version = 0;
  if (driver_version != 0) status.driver = cuda::version_text(driver_version);
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess || count == 0) {
    static_cast<void>(cudaGetLastError());
    status.reason =
        cuda::why_no_device(error == cudaSuccess ? cudaErrorNoDevice : error, driver_version);
    return status;
  }
  for (int index = 0; index < count; ++index) {
    cudaDeviceProp properties{};
    if (cudaGetDeviceProperties(&properties, index) != cudaSuccess) continue;
    const CudaDevice device = describe(index, properties);
    const std::string why_not = cuda::why_not_this_device(device.name, device.capability);
    if (why_not.empty()) {
      status.devices.push_back(device);
    } else {
      status.reason = why_not;
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

const CudaDevice& cuda::usable_device(int index) {
  const CudaStatus& status = cuda_status();
  if (status.devices.empty()) throw_input_error("{}", status.reason);
  for (const auto& device : status.devices) {
    if (device.index == index) return device;
  }
  throw_input_error("there is no usable GPU {}; the first of {} is {}", index,
                    status.devices.size(), status.devices[0].index);
}

std::int64_t cuda_free_bytes(int index) {
  cuda::check(cudaSetDevice(index), "selecting the GPU");
  return static_cast<std::int64_t>(cuda::free_bytes());
}

}  // namespace iol
