#pragma once
// Blocks of threads that share their memory, of compute capability 9.0 (PTX ISA, "barrier.cluster",
// "mapa").
#include <cstdint>

namespace iol::cuda {

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
__device__ __forceinline__ void cluster_barrier() {
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}
/// The place of `local` in the shared memory of block `rank` of the cluster.
__device__ __forceinline__ std::uint32_t address_in(const void* local, int rank) {
  const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(local));
  std::uint32_t remote;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(remote) : "r"(address), "r"(rank));
  return remote;
}
/// What is there.
__device__ __forceinline__ float4 load_four_from(const float* local, int rank) {
  float4 v;
  asm volatile("ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [%4];"
               : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
               : "r"(address_in(local, rank))
               : "memory");
  return v;
}
__device__ __forceinline__ float2 load_two_from(const float2* local, int rank) {
  float2 v;
  asm volatile("ld.shared::cluster.v2.f32 {%0, %1}, [%2];"
               : "=f"(v.x), "=f"(v.y)
               : "r"(address_in(local, rank))
               : "memory");
  return v;
}
#endif

}  // namespace iol::cuda
