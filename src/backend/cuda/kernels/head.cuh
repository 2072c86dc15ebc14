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

/// Of the lane's elements, at a position.
template <int kPerLane>
struct Angles {
  float cosine[kPerLane];
  float sine[kPerLane];
};
template <int kPerLane>
__device__ __forceinline__ Angles<kPerLane> load_angles(const RopeAppendTask& task, int token) {
  const int lane = threadIdx.x % 32;
  const int half = task.cache.head_dim / 2;
  const std::int64_t first = static_cast<std::int64_t>(token) * half;
  Angles<kPerLane> angles;
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) {
    const int d = lane + 32 * i;
    if (d >= 2 * half) continue;
    angles.cosine[i] = task.cosine[first + (d < half ? d : d - half)];
    angles.sine[i] = task.sine[first + (d < half ? d : d - half)];
  }
  return angles;
}

template <int kPerLane>
__device__ __forceinline__ void rotate(Head<kPerLane>& head, int dim,
                                       const Angles<kPerLane>& angles) {
  const int lane = threadIdx.x % 32;
  const Head<kPerLane> other = partners(head, dim);
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) {
    const int d = lane + 32 * i;
    if (d >= dim) continue;
    const float turned = __fmul_rn(other.x[i], angles.sine[i]);
    head.x[i] = __fmaf_rn(head.x[i], angles.cosine[i], d < dim / 2 ? -turned : turned);
  }
}

/// Head `index` of a token, among its queries, keys and values, as it was projected.
template <int kPerLane>
__device__ __forceinline__ Head<kPerLane> load_head(const RopeAppendTask& task, int token,
                                                    int index) {
  const int lane = threadIdx.x % 32;
  const int dim = task.cache.head_dim;
  const int heads = task.num_heads + 2 * task.cache.num_kv_heads;
  const float* row = task.qkv + (static_cast<std::int64_t>(token) * heads + index) * dim;
  Head<kPerLane> head;
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) head.x[i] = lane + 32 * i < dim ? row[lane + 32 * i] : 0.0F;
  return head;
}
/// A query or key: normalized where the architecture has a norm, and rotated.
template <int kPerLane>
__device__ __forceinline__ void turn_head(const RopeAppendTask& task, int index,
                                          const Angles<kPerLane>& angles, Head<kPerLane>& head) {
  const int dim = task.cache.head_dim;
  const float* norm = index < task.num_heads ? task.q_norm : task.k_norm;
  if (norm != nullptr) normalize(head, dim, norm, task.eps);
  rotate(head, dim, angles);
}

/// Of the head's elements, in every lane: see magnitude_bits().
template <int kPerLane>
__device__ __forceinline__ std::uint32_t largest_magnitude(const Head<kPerLane>& head) {
  std::uint32_t largest = 0;
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) largest = max(largest, magnitude_bits(head.x[i]));
  return __reduce_max_sync(0xffffffffU, largest);
}

__device__ __forceinline__ float most_code(CacheElement element) {
  return element == CacheElement::kInt8 ? 127.0F : 448.0F;
}
/// What a head is multiplied by where the cache has codes, whose scale goes to `scales`; else 0.
template <int kPerLane>
__device__ __forceinline__ float find_inverse(const CacheView& cache, const Head<kPerLane>& head,
                                              float* scales, int position) {
  if (!is_coded(cache.element)) return 0;
  const HeadCodes codes(largest_magnitude(head), most_code(cache.element));
  if (threadIdx.x % 32 == 0) scales[position] = codes.scale;
  return codes.inverse;
}
__device__ __forceinline__ std::uint32_t code_of(CacheElement element, float x, float inverse) {
  const float most = most_code(element);
  const float scaled = inverse == 0.0F ? 0.0F : scaled_within(x, inverse, most);
  return element == CacheElement::kInt8 ? static_cast<std::uint8_t>(__float2int_rn(scaled))
                                        : to_e4m3(scaled);
}

/// Where the cache has the keys or values of a head's part of a block, and their scales.
struct HeadPlane {
  std::byte* data;
  float* scales;
  __device__ __forceinline__ HeadPlane(const CacheView& cache, std::byte* head, bool is_value) {
    const std::int64_t bytes = static_cast<std::int64_t>(cache.block_size) * cache.head_dim *
                               cache_element_bytes(cache.element);
    data = head + (is_value ? bytes : 0);
    scales = reinterpret_cast<float*>(head + 2 * bytes) + (is_value ? cache.block_size : 0);
  }
};

/// Puts a key or value at `position` of the cache block whose part of the head begins at
/// `head_data`.
template <int kPerLane>
__device__ __forceinline__ void append(const CacheView& cache, std::byte* head_data, bool is_value,
                                       int position, const Head<kPerLane>& head) {
  const int lane = threadIdx.x % 32;
  const int dim = cache.head_dim;
  const HeadPlane plane(cache, head_data, is_value);
  const float inverse = find_inverse(cache, head, plane.scales, position);
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) {
    const int d = lane + 32 * i;
    if (d >= dim) continue;
    const int at = cache_offset(cache_element_bytes(cache.element), dim, is_value, position, d);
    switch (cache.element) {
      case CacheElement::kF32:
        reinterpret_cast<float*>(plane.data)[at] = head.x[i];
        break;
      case CacheElement::kF16:
        reinterpret_cast<std::uint16_t*>(plane.data)[at] = to_f16(head.x[i]);
        break;
      case CacheElement::kBf16:
        reinterpret_cast<std::uint16_t*>(plane.data)[at] = to_bf16(head.x[i]);
        break;
      case CacheElement::kInt8:
      case CacheElement::kFp8:
        reinterpret_cast<std::uint8_t*>(plane.data)[at] =
            static_cast<std::uint8_t>(code_of(cache.element, head.x[i], inverse));
        break;
    }
  }
}

/// The values of eight positions from `position` on, a multiple of eight: neighbours in a row.
inline constexpr int kValueRow = 8;
template <int kPerLane>
__device__ __forceinline__ void append_row(const CacheView& cache, std::byte* head_data,
                                           int position,
                                           const Head<kPerLane> (&values)[kValueRow]) {
  const int dim = cache.head_dim;
  const HeadPlane plane(cache, head_data, true);
  float inverse[kValueRow];
#pragma unroll
  for (int j = 0; j < kValueRow; ++j)
    inverse[j] = find_inverse(cache, values[j], plane.scales, position + j);
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) {
    const int d = static_cast<int>(threadIdx.x) % 32 + 32 * i;
    if (d >= dim) continue;
    const int bytes = cache_element_bytes(cache.element);
    std::byte* first = plane.data + cache_offset(bytes, dim, true, position, d) * bytes;
    if (bytes == 2) {
      std::uint32_t pairs[kValueRow / 2];
#pragma unroll
      for (int j = 0; j < kValueRow; j += 2)
        pairs[j / 2] = cache.element == CacheElement::kBf16
                           ? to_bf16_pair(values[j].x[i], values[j + 1].x[i])
                           : to_f16_pair(values[j].x[i], values[j + 1].x[i]);
      *reinterpret_cast<uint4*>(first) = make_uint4(pairs[0], pairs[1], pairs[2], pairs[3]);
      continue;
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      std::byte* four = plane.data + cache_offset(bytes, dim, true, position + 4 * half, d) * bytes;
      const int j = 4 * half;
      if (bytes == 4) {
        *reinterpret_cast<float4*>(four) =
            make_float4(values[j].x[i], values[j + 1].x[i], values[j + 2].x[i], values[j + 3].x[i]);
      } else {
        std::uint32_t codes = 0;
#pragma unroll
        for (int c = 0; c < 4; ++c)
          codes |= code_of(cache.element, values[j + c].x[i], inverse[j + c]) << 8 * c;
        *reinterpret_cast<std::uint32_t*>(four) = codes;
      }
    }
  }
}

}  // namespace iol::cuda
