#pragma once
// Numbers of a test to device memory and back.
#include <vector>

#include "backend/cuda/cuda_error.h"
#include "backend/cuda/device_memory.h"

namespace iol::cuda {

template <class T>
DeviceBuffer upload(const std::vector<T>& values) {
  DeviceBuffer buffer(values.size() * sizeof(T), "a test's numbers");
  copy_to_device(buffer.data(), values.data(), buffer.size_bytes(), "a test's numbers");
  return buffer;
}
template <class T>
std::vector<T> download(const DeviceBuffer& buffer) {
  std::vector<T> values(buffer.size_bytes() / sizeof(T));
  check(cudaMemcpy(values.data(), buffer.data(), buffer.size_bytes(), cudaMemcpyDeviceToHost),
        "reading a test's numbers");
  return values;
}

}  // namespace iol::cuda
