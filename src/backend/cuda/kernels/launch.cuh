#pragma once
// How kernels follow each other. On compute capability 9.0 and later a kernel's blocks may start
// while the kernel before it still runs (programmatic dependent launch): they set themselves up,
// fetch weights, and wait for the results of what came before. Every kernel waits, so when one has
// waited all before it are over.
#include <cuda_runtime_api.h>

#include "backend/cuda/kernels/kernel_level.h"
#include "backend/cuda/kernels/kernels.h"
#include "backend/cuda/kernels/shared_bytes.h"

namespace iol::cuda {

/// Returns when everything launched earlier on the stream is over and its results can be read.
__device__ __forceinline__ void wait_for_previous() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

/// The next kernel's blocks may start as soon as every block of this one has called this.
__device__ __forceinline__ void let_next_start() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

inline bool can_overlap() { return takes_hopper_kernels(); }

/// `own`: attributes of this launch, one at most, beside what lets it overlap with its neighbours.
template <class... Parameters>
void launch_with(const cudaLaunchAttribute* own, void (*kernel)(Parameters...), dim3 grid,
                 dim3 threads, int shared_bytes, StreamHandle stream, Parameters... parameters) {
  cudaLaunchAttribute attributes[2] = {};
  unsigned count = 0;
  if (can_overlap()) {
    attributes[count].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[count++].val.programmaticStreamSerializationAllowed = 1;
  }
  if (own != nullptr) attributes[count++] = *own;
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = threads;
  config.dynamicSmemBytes = static_cast<std::size_t>(shared_bytes);
  config.stream = stream;
  config.attrs = attributes;
  config.numAttrs = count;
  // Errors are found by the check behind the launch.
  allow_shared_bytes(reinterpret_cast<const void*>(kernel), shared_bytes);
  static_cast<void>(cudaLaunchKernelEx(&config, kernel, parameters...));
}

template <class... Parameters>
void launch_kernel(void (*kernel)(Parameters...), dim3 grid, dim3 threads, int shared_bytes,
                   StreamHandle stream, Parameters... parameters) {
  launch_with(nullptr, kernel, grid, threads, shared_bytes, stream, parameters...);
}

/// `cluster`: blocks of the grid that share their memory; more than one take compute capability
/// 9.0.
template <class... Parameters>
void launch_clusters(void (*kernel)(Parameters...), dim3 grid, dim3 cluster, dim3 threads,
                     int shared_bytes, StreamHandle stream, Parameters... parameters) {
  cudaLaunchAttribute attribute = {};
  attribute.id = cudaLaunchAttributeClusterDimension;
  attribute.val.clusterDim = {cluster.x, cluster.y, cluster.z};
  const bool is_one = cluster.x * cluster.y * cluster.z == 1;
  launch_with(is_one ? nullptr : &attribute, kernel, grid, threads, shared_bytes, stream,
              parameters...);
}

/// All blocks are on the card at once, so they may wait for each other. No two such kernels run on
/// the device at a time: of this process the caller sees to that; of others, where theirs may run
/// beside ours, the driver, which takes a microsecond.
template <class... Parameters>
void launch_together(void (*kernel)(Parameters...), dim3 grid, dim3 threads, int shared_bytes,
                     StreamHandle stream, Parameters... parameters) {
  cudaLaunchAttribute attribute = {};
  attribute.id = cudaLaunchAttributeCooperative;
  attribute.val.cooperative = 1;
  launch_with(is_shared_with_processes() ? &attribute : nullptr, kernel, grid, threads,
              shared_bytes, stream, parameters...);
}

}  // namespace iol::cuda
