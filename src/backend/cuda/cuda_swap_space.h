#pragma once
#include "backend/backend.h"
#include "backend/cuda/cuda_kv_cache.h"
#include "backend/cuda/device_memory.h"

namespace iol::cuda {

/// Pinned memory, [slots][layers][block], see CacheView for a block's inside. Copies are kernels on
/// the stream of the steps: one launch for up to kMostBlockCopies blocks, however many layers.
class CudaSwapSpace final : public KvSwapSpace {
 public:
  /// `cache` and `stream` outlive it. Throws ResourceError when the host can't pin so much.
  CudaSwapSpace(CudaKvCache& cache, int num_slots, int num_threads, const Stream& stream);
  [[nodiscard]] std::size_t size_bytes() const override { return memory_.size_bytes(); }
  void copy_out(std::span<const BlockCopy> copies) override { copy(copies, true); }
  void copy_in(std::span<const BlockCopy> copies) override { copy(copies, false); }

 private:
  void copy(std::span<const BlockCopy> copies, bool to_host) const;

  CudaKvCache& cache_;
  MappedHostMemory memory_;
  const Stream& stream_;
};

}  // namespace iol::cuda
