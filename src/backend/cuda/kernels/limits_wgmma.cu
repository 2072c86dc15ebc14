// What the tensor cores of compute capability 9.0 reach at most: multiply-accumulates of warpgroups
// on operands in registers and shared memory. Operands are random, since zeros take less power and
// let clocks rise.
#include "backend/cuda/kernels/copy_engine.cuh"
#include "backend/cuda/kernels/kernels.h"
#include "backend/cuda/kernels/wgmma.cuh"

namespace iol::cuda {
namespace {

constexpr int kRounds = 512;
constexpr int kAtOnce = 16;  // multiplications begun before the first is waited for
constexpr int kThreads = 256;
constexpr int kBlocks = 132 * 8;
constexpr int kRowTokens = 128;
[[maybe_unused]] constexpr int kRowBytes = 128;

/// Bits of four E4M3 or int8 numbers, or of two 16-bit ones, none of them NaN or infinite.
[[maybe_unused]] __device__ std::uint32_t random_bits(std::uint32_t i) {
  i = (i ^ i >> 16) * 0x7feb352dU;
  i = (i ^ i >> 15) * 0x846ca68bU;
  return (i ^ i >> 16) & 0xbfbfbfbfU;
}

template <WgmmaPeak kWhich>
__global__ void __launch_bounds__(kThreads) wgmma_peak_kernel(unsigned* sink) {
#if defined(IOL_HAS_WGMMA)
  __shared__ __align__(1024) std::uint32_t rows[kRowTokens * kRowBytes / 4];
  for (int i = threadIdx.x; i < kRowTokens * kRowBytes / 4; i += kThreads) rows[i] = random_bits(i);
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
  __syncthreads();
  std::uint32_t a[4];
  for (int i = 0; i < 4; ++i) a[i] = random_bits(threadIdx.x * 4 + i + 77);
  float sums[64] = {};
  int counts[64] = {};
  const std::uint32_t address = shared_address(rows);
  for (int round = 0; round < kRounds; ++round) {
    begin_wgmma();
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      const std::uint64_t b = operand_descriptor((address + i % 4 * 32) / 16);
      if constexpr (kWhich == WgmmaPeak::kBf16) wgmma_bf16(sums, a, b, true);
      if constexpr (kWhich == WgmmaPeak::kF16) wgmma_f16(sums, a, b, true);
      if constexpr (kWhich == WgmmaPeak::kFp8) wgmma_e4m3(sums, a, b, true);
      if constexpr (kWhich == WgmmaPeak::kInt8) wgmma_int8(counts, a, b, true);
    }
    commit_wgmma();
    wait_wgmma<0>();
  }
  float total = 0;
#pragma unroll
  for (int i = 0; i < 64; ++i) total += sums[i] + static_cast<float>(counts[i]);
  if (total == 1234.5F) *sink = 1;
#endif
}

}  // namespace

double run_wgmma_peak(WgmmaPeak which, unsigned* sink, StreamHandle stream) {
  const auto run = [&](auto* kernel) { kernel<<<kBlocks, kThreads, 0, stream>>>(sink); };
  switch (which) {
    case WgmmaPeak::kBf16:
      run(wgmma_peak_kernel<WgmmaPeak::kBf16>);
      break;
    case WgmmaPeak::kF16:
      run(wgmma_peak_kernel<WgmmaPeak::kF16>);
      break;
    case WgmmaPeak::kInt8:
      run(wgmma_peak_kernel<WgmmaPeak::kInt8>);
      break;
    case WgmmaPeak::kFp8:
      run(wgmma_peak_kernel<WgmmaPeak::kFp8>);
      break;
  }
  const bool has_bytes = which == WgmmaPeak::kInt8 || which == WgmmaPeak::kFp8;
  return double{kBlocks} * (kThreads / 128) * kRounds * kAtOnce * 2 * 64 * kRowTokens *
         (has_bytes ? 32 : 16);
}

}  // namespace iol::cuda
