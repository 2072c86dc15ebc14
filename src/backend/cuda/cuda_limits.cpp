#include <algorithm>
#include <functional>

#include "backend/cuda/cuda_device.h"
#include "backend/cuda/cuda_error.h"
#include "backend/cuda/device_memory.h"
#include "backend/cuda/kernels/kernel_level.h"
#include "backend/cuda/kernels/kernels.h"

namespace iol {
namespace {

using namespace cuda;

constexpr int kRuns = 12;

/// Seconds of the quickest of several runs; the first, which warms up, is not among them.
double quickest_s(const Stream& stream, const std::function<void()>& work) {
  const Event start;
  const Event end;
  double best_ms = 1e30;
  for (int run = 0; run <= kRuns; ++run) {
    start.record(stream);
    work();
    end.record(stream);
    stream.synchronize("measuring the GPU's limits");
    if (run > 0) best_ms = std::min(best_ms, double{end.milliseconds_since(start)});
  }
  check_launch("measuring the GPU's limits");
  return best_ms / 1e3;
}

double read_bytes_per_s(const Stream& stream, std::size_t bytes) {
  const DeviceBuffer buffer(bytes, "measuring the memory's bandwidth");
  const DeviceBuffer sink(sizeof(unsigned), "measuring the memory's bandwidth");
  check(cudaMemsetAsync(buffer.data(), 0x5a, bytes, stream.get()), "filling memory");
  const double seconds = quickest_s(
      stream, [&] { read_all(buffer.data(), bytes, sink.as<unsigned>(), stream.get()); });
  return static_cast<double>(bytes) / seconds;
}

}  // namespace

double cuda_read_bytes_per_s(int index, std::int64_t bytes) {
  check(cudaSetDevice(index), "selecting the GPU");
  const Stream stream;
  return read_bytes_per_s(stream, static_cast<std::size_t>(bytes) / 4096 * 4096);
}

CudaLimits measure_cuda_limits(int index) {
  check(cudaSetDevice(index), "selecting the GPU");
  // Far more than any cache, and no more than a quarter of what is free.
  const std::size_t bytes =
      std::min<std::size_t>(std::size_t{4} << 30, free_bytes() / 4) / 4096 * 4096;
  const Stream stream;
  const DeviceBuffer sink(sizeof(unsigned), "measuring the GPU's limits");
  CudaLimits limits;
  limits.read_bytes_per_s = read_bytes_per_s(stream, bytes);
  const auto peak = [&](const auto& run) {
    double operations = 0;
    const double seconds = quickest_s(stream, [&] { operations = run(); });
    return operations / seconds;
  };
  const auto wgmma_peak = [&](WgmmaPeak which) {
    return peak([&] { return run_wgmma_peak(which, sink.as<unsigned>(), stream.get()); });
  };
  if (takes_hopper_kernels()) {
    limits.bf16_flops = wgmma_peak(WgmmaPeak::kBf16);
    limits.f16_flops = wgmma_peak(WgmmaPeak::kF16);
    limits.int8_ops = wgmma_peak(WgmmaPeak::kInt8);
    limits.fp8_flops = wgmma_peak(WgmmaPeak::kFp8);
    limits.instructions = "wgmma";
  } else {
    limits.bf16_flops = peak([&] { return run_peak(0, sink.as<unsigned>(), stream.get()); });
    limits.f16_flops = peak([&] { return run_peak(1, sink.as<unsigned>(), stream.get()); });
    limits.int8_ops = peak([&] { return run_peak(2, sink.as<unsigned>(), stream.get()); });
    limits.instructions = "mma.sync";
  }
  return limits;
}

}  // namespace iol
