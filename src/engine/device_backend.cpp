#include "engine/device_backend.h"

#include <algorithm>

#include "backend/cpu/cpu_backend.h"
#include "backend/cuda/cuda_backend.h"
#include "backend/cuda/cuda_device.h"
#include "base/error.h"
#include "engine/gpu_holders.h"
#include "engine/memory_check.h"

namespace iol {

Device resolve_device(const Device& asked) {
  if (asked.kind == DeviceKind::kCpu) return asked;
  const CudaStatus& status = cuda_status();
  if (asked.kind == DeviceKind::kAuto) {
    if (status.devices.empty()) return {DeviceKind::kCpu, 0};
    return {DeviceKind::kCuda, status.devices.front().index};
  }
  if (status.devices.empty())
    throw_input_error("--device {}: {}; use --device cpu", device_name(asked), status.reason);
  const bool exists = std::any_of(status.devices.begin(), status.devices.end(),
                                  [&](const auto& device) { return device.index == asked.index; });
  if (!exists) {
    throw_input_error("--device {}: no usable GPU has this number; 'iol doctor' lists them",
                      device_name(asked));
  }
  return asked;
}

namespace {

/// A GPU may not even have room for what CUDA itself takes.
template <class Use>
auto use_gpu(const Device& device, const Use& use) {
  try {
    return use();
  } catch (const ResourceError& error) {
    throw_resource_error("{} can't be used: {}{}; wait until it is free, or use --device cpu",
                         device_name(device), error.what(), holders_text(device));
  }
}

}  // namespace

std::int64_t available_memory_bytes(const Device& device) {
  if (device.kind != DeviceKind::kCuda) return available_memory_bytes();
  return use_gpu(device, [&] { return cuda_free_bytes(device.index); });
}

void require_memory(const Device& device, std::int64_t needed_bytes, std::string_view what,
                    const MemoryAdvice& advice) {
  if (device.kind != DeviceKind::kCuda) return require_memory(needed_bytes, what, advice);
  const std::int64_t available = available_memory_bytes(device);
  if (needed_bytes <= available) return;
  throw_resource_error(
      "{} needs {:.2f} GB of GPU memory, but {:.2f} GB are free on {}{}; {}'iol plan' shows what "
      "fits",
      what, static_cast<double>(needed_bytes) / 1e9, static_cast<double>(available) / 1e9,
      device_name(device), holders_text(device), advice ? advice() : std::string());
}

std::int64_t activation_bytes(const Device& device, const TransformerShape& shape, int max_tokens,
                              int max_logit_tokens, int num_threads) {
  const std::size_t bytes =
      device.kind == DeviceKind::kCuda
          ? cuda_activation_bytes(shape, max_tokens, max_logit_tokens)
          : cpu_activation_bytes(shape, max_tokens, max_logit_tokens, num_threads);
  return static_cast<std::int64_t>(bytes);
}

WeightPacking packing_of(const Device& device) {
  return device.kind == DeviceKind::kCuda ? WeightPacking::kCuda : WeightPacking::kCpu;
}

int default_step_tokens(const Device& device) {
  return device.kind == DeviceKind::kCuda ? 2048 : 512;
}

std::unique_ptr<Backend> make_backend(const BackendChoice& choice) {
  if (choice.device.kind == DeviceKind::kCuda) {
    return use_gpu(choice.device, [&] {
      return make_cuda_backend(
          {choice.device.index, choice.num_threads, choice.dtype, choice.deterministic});
    });
  }
  return make_cpu_backend({choice.isa, choice.num_threads, choice.dtype});
}

}  // namespace iol
