// host[slot][layer] = cache[layer][block], or back, for a list of blocks and slots: a block of
// threads for each layer of each. Launched without overlap: the steps before are over, and those
// behind have not begun.
#include <cuda_runtime_api.h>

#include "backend/cuda/kernels/copy_blocks.h"

namespace iol::cuda {
namespace {

constexpr int kThreads = 256;

/// What goes over the bus is used once: it takes no place in the caches.
__global__ void copy_blocks_kernel(const __grid_constant__ CopyBlocksTask task) {
  const BlockCopy copy = task.copies[blockIdx.x];
  const int layer = blockIdx.y;
  auto* block = reinterpret_cast<uint4*>(task.cache + task.layer_bytes * layer +
                                         task.block_bytes * copy.block);
  auto* slot = reinterpret_cast<uint4*>(
      task.host + task.block_bytes * (std::int64_t{copy.slot} * task.num_layers + layer));
  const auto num_pieces = static_cast<int>(task.block_bytes / sizeof(uint4));
  if (task.to_host) {
#pragma unroll 4
    for (int i = threadIdx.x; i < num_pieces; i += kThreads) __stcs(slot + i, __ldcs(block + i));
  } else {
#pragma unroll 4
    for (int i = threadIdx.x; i < num_pieces; i += kThreads) block[i] = __ldcv(slot + i);
  }
}

}  // namespace

void copy_blocks(const CopyBlocksTask& task, StreamHandle stream) {
  const dim3 grid(task.num_copies, task.num_layers);
  copy_blocks_kernel<<<grid, kThreads, 0, stream>>>(task);
}

}  // namespace iol::cuda
