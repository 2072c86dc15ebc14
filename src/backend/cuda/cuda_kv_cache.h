#pragma once
#include "backend/backend.h"
#include "backend/cuda/device_memory.h"
#include "backend/cuda/kernels/kernels.h"

namespace iol::cuda {

/// All layers' keys and values: [layer][block][kv head], see CacheView.
class CudaKvCache final : public KvCache {
 public:
  explicit CudaKvCache(const KvCacheShape& shape);
  [[nodiscard]] const KvCacheShape& shape() const override { return shape_; }
  [[nodiscard]] CacheView layer(int layer) const;
  [[nodiscard]] std::byte* data() const { return buffer_.data(); }

 private:
  KvCacheShape shape_;
  CacheElement element_;
  DeviceBuffer buffer_;
};

}  // namespace iol::cuda
