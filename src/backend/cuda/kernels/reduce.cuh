#pragma once
// Sums and maxima over a warp or a block, in an order that depends on the number of threads alone;
// every thread gets the result.
#include <cstdint>

namespace iol::cuda {

__device__ __forceinline__ float warp_sum(float value) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2)
    value += __shfl_xor_sync(0xffffffffU, value, offset);
  return value;
}
__device__ __forceinline__ unsigned long long warp_sum(unsigned long long value) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2)
    value += __shfl_xor_sync(0xffffffffU, value, offset);
  return value;
}
__device__ __forceinline__ float warp_max(float value) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2)
    value = fmaxf(value, __shfl_xor_sync(0xffffffffU, value, offset));
  return value;
}

/// The largest of numbers that aren't negative; not a number is the largest.
__device__ __forceinline__ float warp_largest(float value) {
  return __uint_as_float(__reduce_max_sync(0xffffffffU, __float_as_uint(value)));
}

/// `scratch`: one number for each warp; free again when the call returns.
template <int kThreads, class Number>
__device__ __forceinline__ Number block_sum(Number value, Number* scratch) {
  value = warp_sum(value);
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = value;
  __syncthreads();
  Number total = 0;
#pragma unroll
  for (int warp = 0; warp < kThreads / 32; ++warp) total += scratch[warp];
  __syncthreads();
  return total;
}
template <int kThreads>
__device__ __forceinline__ float block_max(float value, float* scratch) {
  value = warp_max(value);
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = value;
  __syncthreads();
  float most = scratch[0];
#pragma unroll
  for (int warp = 1; warp < kThreads / 32; ++warp) most = fmaxf(most, scratch[warp]);
  __syncthreads();
  return most;
}

}  // namespace iol::cuda
