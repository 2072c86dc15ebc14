#include "backend/cuda/cuda_kv_cache.h"

#include "base/error.h"

namespace iol::cuda {
namespace {

constexpr int kMostHeadDim = 256;

CacheElement element_of(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return CacheElement::kF32;
    case DType::kF16:
      return CacheElement::kF16;
    case DType::kBF16:
      return CacheElement::kBf16;
    case DType::kI8:
      return CacheElement::kInt8;
    case DType::kF8E4M3:
      return CacheElement::kFp8;
    default:
      throw_input_error(
          "the CUDA backend keeps keys and values as bf16, f16, f32, int8 or fp8, not as {}",
          dtype_name(dtype));
  }
}

KvCacheShape checked(const KvCacheShape& shape) {
  if (shape.block_size % 16 != 0)
    throw_input_error("a KV block of {} tokens is not a multiple of 16", shape.block_size);
  if (shape.head_dim % 16 != 0 || shape.head_dim > kMostHeadDim) {
    throw_input_error(
        "head_dim {} is not supported by the CUDA backend; expected a multiple of 16 up to {}",
        shape.head_dim, kMostHeadDim);
  }
  return shape;
}

}  // namespace

CudaKvCache::CudaKvCache(const KvCacheShape& shape)
    : shape_(checked(shape)),
      element_(element_of(shape.dtype)),
      buffer_(shape.block_bytes() * static_cast<std::size_t>(shape.num_blocks), "the KV cache") {}

CacheView CudaKvCache::layer(int layer) const {
  CacheView view;
  view.element = element_;
  view.block_size = shape_.block_size;
  view.head_dim = shape_.head_dim;
  view.num_kv_heads = shape_.num_kv_heads;
  view.head_bytes = std::int64_t{2} * shape_.block_size *
                    static_cast<std::int64_t>(kv_row_bytes(shape_.head_dim, shape_.dtype));
  view.block_bytes = view.head_bytes * shape_.num_kv_heads;
  view.data = buffer_.data() + view.block_bytes * shape_.num_blocks * layer;
  return view;
}

}  // namespace iol::cuda
