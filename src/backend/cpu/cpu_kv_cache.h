#pragma once
#include "backend/backend.h"
#include "backend/cpu/kernel_table.h"
#include "base/huge_buffer.h"

namespace iol::cpu {

/// All layers' keys and values: [layer][block][kv_head][keys, values] (see CacheView for a block's
/// inside). Zero-filled at first, and pages are committed as blocks are first used.
class CpuKvCache final : public KvCache {
 public:
  explicit CpuKvCache(const KvCacheShape& shape);
  [[nodiscard]] const KvCacheShape& shape() const override { return shape_; }
  [[nodiscard]] CacheView layer(int layer) const;

 private:
  KvCacheShape shape_;
  Element element_;
  HugeBuffer buffer_;
};

}  // namespace iol::cpu
