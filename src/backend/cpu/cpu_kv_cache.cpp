#include "backend/cpu/cpu_kv_cache.h"

#include "backend/cpu/packed_matrix.h"
#include "base/error.h"

namespace iol::cpu {
namespace {

Element cache_element(DType dtype) {
  if (dtype == DType::kI8) return Element::kInt8;
  if (dtype == DType::kF8E4M3) return Element::kFp8;
  return element_of(dtype);
}

}  // namespace

CpuKvCache::CpuKvCache(const KvCacheShape& shape)
    : shape_(shape),
      element_(cache_element(shape.dtype)),
      buffer_(shape.block_bytes() * static_cast<std::size_t>(shape.num_blocks)) {
  if (shape.block_size % kKeyTile != 0) {
    throw_input_error("a KV block of {} tokens is not a multiple of {}", shape.block_size,
                      kKeyTile);
  }
  if (shape.head_dim % kBlockColumns != 0 || shape.head_dim > kMaxHeadDim) {
    throw_input_error(
        "head_dim {} is not supported by the CPU backend; expected a multiple of {} up to {}",
        shape.head_dim, kBlockColumns, kMaxHeadDim);
  }
}

CacheView CpuKvCache::layer(int layer) const {
  CacheView view;
  view.head_dim = shape_.head_dim;
  view.block_size = shape_.block_size;
  view.element = element_;
  view.head_bytes = std::int64_t{2} * shape_.block_size *
                    static_cast<std::int64_t>(kv_row_bytes(shape_.head_dim, shape_.dtype));
  view.block_bytes = view.head_bytes * shape_.num_kv_heads;
  view.layer = buffer_.data() + view.block_bytes * shape_.num_blocks * layer;
  return view;
}

}  // namespace iol::cpu
