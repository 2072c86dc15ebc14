#pragma once
// Sums that one block of threads begins and another ends: a unit of work (linear_wgmma.cuh) whose
// parts of K fall to two blocks. The first of them leaves its sums in device memory, as its threads
// hold them; the second goes on from there, so that sums have the bits of one block alone.
#include <cstdint>
#include <type_traits>

#include "backend/cuda/kernels/finish_tokens.cuh"
#include "backend/cuda/kernels/kernels.h"

namespace iol::cuda {

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900

__device__ __forceinline__ void set_flag(std::uint32_t* flag, std::uint32_t value) {
  asm volatile("st.release.gpu.global.u32 [%0], %1;" ::"l"(flag), "r"(value) : "memory");
}
__device__ __forceinline__ std::uint32_t read_flag(const std::uint32_t* flag) {
  std::uint32_t value;
  asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(value) : "l"(flag) : "memory");
  return value;
}

/// Where a warpgroup leaves its sums, kSize to a thread.
template <int kSize>
struct SharedSums {
  static constexpr int kFours = kSize / 4;
  const SumExchange& exchange;

  /// Of group `group` of block `block`: [kFours][thread].
  [[nodiscard]] __device__ __forceinline__ float4* place(int block, int group) const {
    return reinterpret_cast<float4*>(exchange.sums) +
           static_cast<std::int64_t>(block * kMostGroups + group) *
               (kMostSharedSums / 4 * kFinishThreads) +
           threadIdx.x % kFinishThreads;
  }
  [[nodiscard]] __device__ __forceinline__ std::uint32_t* flag(int block, int group) const {
    return exchange.are_there + block * kMostGroups + group;
  }

  template <class Part>
  __device__ __forceinline__ void leave(int block, int group, const Part (&sums)[kSize]) const {
    static_assert(kSize <= kMostSharedSums && sizeof(Part) == 4);
    float4* to = place(block, group);
#pragma unroll
    for (int i = 0; i < kFours; ++i)
      __stcg(to + i * kFinishThreads, float4{bits(sums[4 * i]), bits(sums[4 * i + 1]),
                                             bits(sums[4 * i + 2]), bits(sums[4 * i + 3])});
    named_barrier(1 + group, kFinishThreads);
    if (threadIdx.x % kFinishThreads == 0) set_flag(flag(block, group), 1);
  }
  /// Waits for them. They can be taken once.
  template <class Part>
  __device__ __forceinline__ void take(int block, int group, Part (&sums)[kSize]) const {
    if (threadIdx.x % kFinishThreads == 0) {
      while (read_flag(flag(block, group)) == 0) {
      }
      set_flag(flag(block, group), 0);
    }
    named_barrier(1 + group, kFinishThreads);
    const float4* from = place(block, group);
#pragma unroll
    for (int i = 0; i < kFours; ++i) {
      const float4 v = __ldcg(from + i * kFinishThreads);
      take_bits(sums[4 * i], v.x), take_bits(sums[4 * i + 1], v.y);
      take_bits(sums[4 * i + 2], v.z), take_bits(sums[4 * i + 3], v.w);
    }
  }

 private:
  static __device__ __forceinline__ float bits(float v) { return v; }
  static __device__ __forceinline__ float bits(int v) { return __int_as_float(v); }
  static __device__ __forceinline__ void take_bits(float& to, float v) { to = v; }
  static __device__ __forceinline__ void take_bits(int& to, float v) { to = __float_as_int(v); }
};

#endif

}  // namespace iol::cuda
