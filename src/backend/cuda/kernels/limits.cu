// What the device reaches at most: reading memory, and multiply-accumulates on registers.
#include "backend/cuda/kernels/kernels.h"
#include "backend/cuda/kernels/mma.cuh"

namespace iol::cuda {
namespace {

__global__ void __launch_bounds__(512)
    read_kernel(const uint4* data, std::size_t count, unsigned* sink) {
  const std::size_t stride = static_cast<std::size_t>(gridDim.x) * blockDim.x;
  std::size_t i = static_cast<std::size_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  unsigned sum = 0;
  for (; i + 7 * stride < count; i += 8 * stride) {
    uint4 v[8];
#pragma unroll
    for (int u = 0; u < 8; ++u) v[u] = __ldcs(data + i + u * stride);
#pragma unroll
    for (int u = 0; u < 8; ++u) sum += v[u].x ^ v[u].y ^ v[u].z ^ v[u].w;
  }
  for (; i < count; i += stride) sum += data[i].x;
  if (sum == 0x9e3779b9U) *sink = sum;
}

constexpr int kPeakRounds = 512;
constexpr int kPeakChains = 8;
constexpr int kPeakBlocks = 2048;
constexpr int kPeakThreads = 256;

template <int kWhich>
__global__ void __launch_bounds__(kPeakThreads) peak_kernel(unsigned* sink) {
  float sums[kPeakChains][4] = {};
  int counts[kPeakChains][4] = {};
  const unsigned a = threadIdx.x;
  for (int round = 0; round < kPeakRounds; ++round) {
#pragma unroll
    for (int c = 0; c < kPeakChains; ++c) {
      if constexpr (kWhich == 0) mma_bf16(sums[c], a, a, a, a, a, a);
      if constexpr (kWhich == 1) mma_f16(sums[c], a, a, a, a, a, a);
      if constexpr (kWhich == 2) mma_int8(counts[c], a, a, a, a, a, a);
    }
  }
  float total = 0;
  for (int c = 0; c < kPeakChains; ++c) total += sums[c][0] + static_cast<float>(counts[c][0]);
  if (total == 1234.5F) *sink = 1;
}

}  // namespace

void read_all(const void* data, std::size_t bytes, unsigned* sink, StreamHandle stream) {
  read_kernel<<<132 * 4, 512, 0, stream>>>(static_cast<const uint4*>(data), bytes / 16, sink);
}

double run_peak(int which, unsigned* sink, StreamHandle stream) {
  const double mmas = double{kPeakBlocks} * (kPeakThreads / 32) * kPeakRounds * kPeakChains;
  if (which == 0) peak_kernel<0><<<kPeakBlocks, kPeakThreads, 0, stream>>>(sink);
  if (which == 1) peak_kernel<1><<<kPeakBlocks, kPeakThreads, 0, stream>>>(sink);
  if (which == 2) peak_kernel<2><<<kPeakBlocks, kPeakThreads, 0, stream>>>(sink);
  return mmas * 2 * 16 * 8 * (which == 2 ? 32 : 16);
}

}  // namespace iol::cuda
