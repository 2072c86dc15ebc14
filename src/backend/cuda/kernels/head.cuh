#pragma once
// A head of a token's queries, keys or values in a warp: RMSNorm over it where the architecture has
// one, rotation by the position, and its place in the cache:
//   y_i = x_i cos_i - x_{i+D/2} sin_i,  y_{i+D/2} = x_{i+D/2} cos_i + x_i sin_i
// Keys and values go to the cache as numbers or as codes (head_codes.cuh).
#include "backend/cuda/kernels/epilogue.cuh"
#include "backend/cuda/kernels/head_codes.cuh"
#include "backend/cuda/kernels/reduce.cuh"

namespace iol::cuda {

inline constexpr int kHeadWarps = 4;  // of a block of threads, at most

/// Lane l holds elements l + 32 i of a head, in x[i].
template <int kPerLane>
struct Head {
  float x[kPerLane];
};

template <int kPerLane>
__device__ __forceinline__ void normalize(Head<kPerLane>& head, int dim, const float* weight,
                                          double eps) {
  const int lane = threadIdx.x % 32;
  float squares = 0;
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) squares = __fmaf_rn(head.x[i], head.x[i], squares);
  const double mean = static_cast<double>(warp_sum(squares)) / dim + eps;
  const auto scale = static_cast<float>(1.0 / sqrt(mean));
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) {
    if (lane + 32 * i < dim)
      head.x[i] = __fmul_rn(__fmul_rn(head.x[i], scale), weight[lane + 32 * i]);
  }
}

/// The elements half a head away. Where halves are whole warps wide, the lane has them itself.
template <int kPerLane>
__device__ __forceinline__ Head<kPerLane> partners(const Head<kPerLane>& head, int dim) {
  Head<kPerLane> other;
  if (dim == 32 * kPerLane) {
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) other.x[i] = head.x[(i + kPerLane / 2) % kPerLane];
    return other;
  }
  __shared__ float shared[kHeadWarps][32 * kPerLane];
  float* row = shared[threadIdx.x / 32];
  const int lane = threadIdx.x % 32;
  const int half = dim / 2;
  __syncwarp();
#pragma unroll
  for (int i = 0; i < kPerLane; ++i)
    if (lane + 32 * i < dim) row[lane + 32 * i] = head.x[i];
  __syncwarp();
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) {
    const int d = lane + 32 * i;
    other.x[i] = d < dim ? row[d < half ? d + half : d - half] : 0.0F;
  }
  return other;
}

/// `cosine`, `sine`: [dim / 2], of the head's position.
template <int kPerLane>
__device__ __forceinline__ void rotate(Head<kPerLane>& head, int dim, const float* cosine,
                                       const float* sine) {
  const int lane = threadIdx.x % 32;
  const int half = dim / 2;
  const Head<kPerLane> other = partners(head, dim);
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) {
    const int d = lane + 32 * i;
    if (d >= dim) continue;
    const int angle = d < half ? d : d - half;
    const float turned = __fmul_rn(other.x[i], sine[angle]);
    head.x[i] = __fmaf_rn(head.x[i], cosine[angle], d < half ? -turned : turned);
  }
}

/// Head `index` of a token, among its queries, keys and values: normalized where the architecture
/// has a norm, and rotated, but for values.
template <int kPerLane>
__device__ __forceinline__ Head<kPerLane> load_head(const RopeAppendTask& task, int token,
                                                    int index) {
  const int lane = threadIdx.x % 32;
  const int dim = task.cache.head_dim;
  const int kv_heads = task.cache.num_kv_heads;
  const float* row =
      task.qkv + (static_cast<std::int64_t>(token) * (task.num_heads + 2 * kv_heads) + index) * dim;
  Head<kPerLane> head;
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) head.x[i] = lane + 32 * i < dim ? row[lane + 32 * i] : 0.0F;
  if (index >= task.num_heads + kv_heads) return head;
  const float* norm = index < task.num_heads ? task.q_norm : task.k_norm;
  if (norm != nullptr) normalize(head, dim, norm, task.eps);
  const std::int64_t angles = static_cast<std::int64_t>(token) * (dim / 2);
  rotate(head, dim, task.cosine + angles, task.sine + angles);
  return head;
}

/// Of the head's elements, in every lane: see magnitude_bits().
template <int kPerLane>
__device__ __forceinline__ std::uint32_t largest_magnitude(const Head<kPerLane>& head) {
  std::uint32_t largest = 0;
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) largest = max(largest, magnitude_bits(head.x[i]));
  return __reduce_max_sync(0xffffffffU, largest);
}

/// Puts a key or value at `position` of the cache block whose part of the head begins at
/// `head_data`.
template <int kPerLane>
__device__ __forceinline__ void append(const CacheView& cache, std::byte* head_data, bool is_value,
                                       int position, const Head<kPerLane>& head) {
  const int lane = threadIdx.x % 32;
  const int dim = cache.head_dim;
  const std::int64_t plane =
      static_cast<std::int64_t>(cache.block_size) * dim * cache_element_bytes(cache.element);
  std::byte* base = head_data + (is_value ? plane : 0);
  const bool coded = cache.element == CacheElement::kInt8 || cache.element == CacheElement::kFp8;
  const float most = cache.element == CacheElement::kInt8 ? 127.0F : 448.0F;
  float inverse = 0;
  if (coded) {
    const HeadCodes codes(largest_magnitude(head), most);
    inverse = codes.inverse;
    auto* scales =
        reinterpret_cast<float*>(head_data + 2 * plane) + (is_value ? cache.block_size : 0);
    if (lane == 0) scales[position] = codes.scale;
  }
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) {
    const int d = lane + 32 * i;
    if (d >= dim) continue;
    const int at = cache_offset(cache_element_bytes(cache.element), dim, is_value, position, d);
    const float scaled = inverse == 0.0F ? 0.0F : scaled_within(head.x[i], inverse, most);
    switch (cache.element) {
      case CacheElement::kF32:
        reinterpret_cast<float*>(base)[at] = head.x[i];
        break;
      case CacheElement::kF16:
        reinterpret_cast<std::uint16_t*>(base)[at] = to_f16(head.x[i]);
        break;
      case CacheElement::kBf16:
        reinterpret_cast<std::uint16_t*>(base)[at] = to_bf16(head.x[i]);
        break;
      case CacheElement::kInt8:
        reinterpret_cast<std::int8_t*>(base)[at] = static_cast<std::int8_t>(__float2int_rn(scaled));
        break;
      case CacheElement::kFp8:
        reinterpret_cast<std::uint8_t*>(base)[at] = static_cast<std::uint8_t>(to_e4m3(scaled));
        break;
    }
  }
}

}  // namespace iol::cuda
