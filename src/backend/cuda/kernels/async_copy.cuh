#pragma once
// Copies from global into shared memory that run beside a thread's other work (PTX ISA,
// "cp.async"). A thread waits for its own; other threads' are there behind a barrier.
#include <cstdint>

namespace iol::cuda {

/// Begins to copy 16 bytes, past the L1 cache.
__device__ __forceinline__ void copy_async(void* shared, const void* global) {
  const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(address), "l"(global) : "memory");
}
/// Likewise out of a long run that others read on; zeros unless `present`.
__device__ __forceinline__ void copy_of_run(void* shared, const void* global, bool present = true) {
  const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(address), "l"(global),
               "r"(present ? 16 : 0)
               : "memory");
}
/// What was begun since the last call becomes a group.
__device__ __forceinline__ void commit_copies() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
/// Until all copies are here.
__device__ __forceinline__ void wait_for_all_copies() {
  asm volatile("cp.async.wait_all;" ::: "memory");
}
/// Until all but the last kPending groups are here.
template <int kPending>
__device__ __forceinline__ void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

}  // namespace iol::cuda
