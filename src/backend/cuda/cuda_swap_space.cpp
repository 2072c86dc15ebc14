#include "backend/cuda/cuda_swap_space.h"

#include <algorithm>

#include "backend/cuda/cuda_error.h"
#include "backend/cuda/kernels/copy_blocks.h"

namespace iol::cuda {

CudaSwapSpace::CudaSwapSpace(CudaKvCache& cache, int num_slots, int num_threads,
                             const Stream& stream)
    : cache_(cache),
      memory_(cache.shape().block_bytes() * static_cast<std::size_t>(num_slots), num_threads,
              "pinning the host's memory of --swap-space"),
      stream_(stream) {}

void CudaSwapSpace::copy(std::span<const BlockCopy> copies, bool to_host) const {
  const KvCacheShape& shape = cache_.shape();
  CopyBlocksTask task;
  task.cache = cache_.data();
  task.host = memory_.device_data();
  task.block_bytes = static_cast<std::int64_t>(shape.block_bytes()) / shape.num_layers;
  task.layer_bytes = task.block_bytes * shape.num_blocks;
  task.num_layers = shape.num_layers;
  task.to_host = to_host;
  while (!copies.empty()) {
    const auto some = copies.first(std::min<std::size_t>(copies.size(), kMostBlockCopies));
    std::ranges::copy(some, task.copies);
    task.num_copies = static_cast<int>(some.size());
    copy_blocks(task, stream_.get());
    check_launch(to_host ? "copying KV blocks to the host" : "copying KV blocks from the host");
    copies = copies.subspan(some.size());
  }
}

}  // namespace iol::cuda
