#include "engine/gpu_holders.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "backend/cuda/cuda_device.h"

namespace iol {
namespace {

constexpr std::size_t kMostNamed = 3;

double gigabytes(std::int64_t bytes) { return static_cast<double>(bytes) / 1e9; }

}  // namespace

std::string holders_text(std::span<const GpuProcess> processes, pid_t self,
                         std::optional<std::int64_t> used_bytes) {
  std::vector<GpuProcess> others(processes.begin(), processes.end());
  if (std::erase_if(others, [&](const auto& each) { return each.process == self; }) == 0) {
    if (!used_bytes) return {};
    return fmt::format(" ({:.2f} GB are in use; the driver doesn't show by whom)",
                       gigabytes(*used_bytes));
  }
  std::ranges::sort(others, std::ranges::greater(), &GpuProcess::memory_bytes);
  if (others.size() > kMostNamed) others.resize(kMostNamed);
  std::string text;
  for (const GpuProcess& each : others) {
    text += fmt::format("{}process {} holds {:.2f} GB", text.empty() ? " (" : ", ", each.process,
                        gigabytes(each.memory_bytes));
  }
  return text.empty() ? text : text + ")";
}

std::string holders_text(const Device& device) {
  for (const CudaDevice& each : cuda_status().devices) {
    if (each.index != device.index) continue;
    GpuMonitor monitor(each.uuid);
    return holders_text(monitor.processes(), ::getpid(),
                        monitor.read(::getpid()).memory_used_bytes);
  }
  return {};
}

}  // namespace iol
