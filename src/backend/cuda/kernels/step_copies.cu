// Copies between pinned memory of the host and the device, 16 bytes to a thread at a time. Launched
// without overlap: what is behind may read the input before it has waited for anything.
#include <cuda_runtime_api.h>

#include <algorithm>

#include "backend/cuda/kernels/step_copies.h"

namespace iol::cuda {
namespace {

constexpr int kThreads = 256;
// Enough for what the bus takes at once.
constexpr std::size_t kMostBlocks = 64;

std::size_t pieces_of(const StepCopy& copy) { return copy.bytes / sizeof(uint4); }

dim3 blocks_for(std::size_t pieces) {
  const std::size_t blocks = (pieces + kThreads - 1) / kThreads;
  return dim3(static_cast<unsigned>(std::clamp<std::size_t>(blocks, 1, kMostBlocks)));
}

/// Piece i of the second range is piece `num_first` + i of all.
__global__ void fetch_kernel(const uint4* first_from, uint4* first_to, std::size_t num_first,
                             const uint4* second_from, uint4* second_to, std::size_t num_second) {
  const std::size_t stride = std::size_t{gridDim.x} * kThreads;
  for (std::size_t i = std::size_t{blockIdx.x} * kThreads + threadIdx.x; i < num_first + num_second;
       i += stride) {
    if (i < num_first) {
      first_to[i] = __ldcv(first_from + i);  // the host has changed it: not from a cache
    } else {
      second_to[i - num_first] = __ldcv(second_from + (i - num_first));
    }
  }
}

__global__ void leave_kernel(const uint4* from, uint4* to, std::size_t num_pieces) {
  const std::size_t stride = std::size_t{gridDim.x} * kThreads;
  for (std::size_t i = std::size_t{blockIdx.x} * kThreads + threadIdx.x; i < num_pieces;
       i += stride)
    to[i] = from[i];
}

}  // namespace

void fetch_inputs(const FetchTask& task, StreamHandle stream) {
  const std::size_t num_first = pieces_of(task.arrays);
  const std::size_t num_second = pieces_of(task.tables);
  fetch_kernel<<<blocks_for(num_first + num_second), kThreads, 0, stream>>>(
      static_cast<const uint4*>(task.arrays.from), static_cast<uint4*>(task.arrays.to), num_first,
      static_cast<const uint4*>(task.tables.from), static_cast<uint4*>(task.tables.to), num_second);
}

void leave_results(const StepCopy& task, StreamHandle stream) {
  const std::size_t num_pieces = pieces_of(task);
  leave_kernel<<<blocks_for(num_pieces), kThreads, 0, stream>>>(
      static_cast<const uint4*>(task.from), static_cast<uint4*>(task.to), num_pieces);
}

}  // namespace iol::cuda
