// Behind the QKV projection, one warp for each head of a token:
//   q, k   RMSNorm over the head where the architecture has one, then rotation by the position:
//          y_i = x_i cos_i - x_{i+D/2} sin_i,  y_{i+D/2} = x_{i+D/2} cos_i + x_i sin_i
//   q      becomes the attention's operand; k, v go to the cache, as numbers or as codes:
//          scale = max |x| / most, code = x * (most / max |x|), most = 127 or 448; what has NaN or
//          infinity in it gets a scale of NaN, so that nobody takes it for numbers
#include "backend/cuda/kernels/epilogue.cuh"
#include "backend/cuda/kernels/reduce.cuh"

namespace iol::cuda {
namespace {

constexpr int kWarps = 4;
constexpr int kMostPerLane = 8;  // D <= 256

/// Element d of the head of this lane's place i: d = lane + 32 i.
struct Head {
  float x[kMostPerLane];
};

__device__ void normalize(Head& head, int dim, const float* weight, double eps) {
  const int lane = threadIdx.x % 32;
  float squares = 0;
#pragma unroll
  for (int i = 0; i < kMostPerLane; ++i) squares = __fmaf_rn(head.x[i], head.x[i], squares);
  const double mean = static_cast<double>(warp_sum(squares)) / dim + eps;
  const auto scale = static_cast<float>(1.0 / sqrt(mean));
#pragma unroll
  for (int i = 0; i < kMostPerLane; ++i) {
    if (lane + 32 * i < dim)
      head.x[i] = __fmul_rn(__fmul_rn(head.x[i], scale), weight[lane + 32 * i]);
  }
}

/// Through the warp's own shared memory: the partner is half a head away.
__device__ void rotate(Head& head, int dim, const float* cosine, const float* sine, float* shared) {
  const int lane = threadIdx.x % 32;
  const int half = dim / 2;
  for (int i = 0; i < kMostPerLane; ++i)
    if (lane + 32 * i < dim) shared[lane + 32 * i] = head.x[i];
  __syncwarp();
#pragma unroll
  for (int i = 0; i < kMostPerLane; ++i) {
    const int d = lane + 32 * i;
    if (d >= dim) continue;
    const int angle = d % half;
    const float partner = shared[d < half ? d + half : d - half];
    const float turned = __fmul_rn(partner, sine[angle]);
    head.x[i] = d < half ? __fmaf_rn(head.x[i], cosine[angle], -turned)
                         : __fmaf_rn(head.x[i], cosine[angle], turned);
  }
}

/// Place of element d at a position within the cache's units (see CacheView), in elements.
__device__ int unit_offset(const CacheView& cache, bool is_value, int position, int d) {
  const int units = cache.head_dim / 16;
  const int p = position % 16;
  const int k = d % 16;
  const int row = is_value ? k : p;     // of the unit: g, + 8
  const int column = is_value ? p : k;  // 4 q + i
  return (position / 16 * units + d / 16) * 256 + (row % 8 * 4 + column / 4) * 8 + row / 8 * 4 +
         column % 4;
}

__device__ void append(const CacheView& cache, std::byte* head_data, bool is_value, int position,
                       const Head& head) {
  const int lane = threadIdx.x % 32;
  const int dim = cache.head_dim;
  const std::int64_t plane =
      static_cast<std::int64_t>(cache.block_size) * dim * cache_element_bytes(cache.element);
  std::byte* base = head_data + (is_value ? plane : 0);
  const bool coded = cache.element == CacheElement::kInt8 || cache.element == CacheElement::kFp8;
  const float most = cache.element == CacheElement::kInt8 ? 127.0F : 448.0F;
  float inverse = 0;
  if (coded) {
    float largest = 0;
    float poison = 0;  // NaN when one isn't finite
#pragma unroll
    for (int i = 0; i < kMostPerLane; ++i) {
      largest = fmaxf(largest, fabsf(head.x[i]));
      poison += head.x[i] - head.x[i];
    }
    largest = warp_max(largest);
    poison = warp_sum(poison);
    inverse = reciprocal_scale(most, largest, 0.0F);
    auto* scales =
        reinterpret_cast<float*>(head_data + 2 * plane) + (is_value ? cache.block_size : 0);
    if (lane == 0) scales[position] = __fdiv_rn(largest, most) + poison;
  }
#pragma unroll
  for (int i = 0; i < kMostPerLane; ++i) {
    const int d = lane + 32 * i;
    if (d >= dim) continue;
    const int at = unit_offset(cache, is_value, position, d);
    const float scaled = scaled_within(head.x[i], inverse, most);
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

__global__ void __launch_bounds__(32 * kWarps) rope_append_kernel(RopeAppendTask task) {
  __shared__ float shared[kWarps][32 * kMostPerLane];
  const int warp = threadIdx.x / 32;
  const int lane = threadIdx.x % 32;
  const int index = blockIdx.y * kWarps + warp;  // of the head among q, k, v
  const int kv_heads = task.cache.num_kv_heads;
  let_next_start();
  wait_for_previous();
  if (index >= task.num_heads + 2 * kv_heads) return;
  const int dim = task.cache.head_dim;
  const int token = blockIdx.x;
  const float* row =
      task.qkv + (static_cast<std::int64_t>(token) * (task.num_heads + 2 * kv_heads) + index) * dim;
  Head head;
#pragma unroll
  for (int i = 0; i < kMostPerLane; ++i)
    head.x[i] = lane + 32 * i < dim ? row[lane + 32 * i] : 0.0F;
  const bool is_query = index < task.num_heads;
  const bool is_value = index >= task.num_heads + kv_heads;
  if (!is_value) {
    const float* norm = is_query ? task.q_norm : task.k_norm;
    if (norm != nullptr) normalize(head, dim, norm, task.eps);
    const std::int64_t angles = static_cast<std::int64_t>(token) * (dim / 2);
    rotate(head, dim, task.cosine + angles, task.sine + angles, shared[warp]);
  }
  if (is_query) {
    const std::int64_t at = (static_cast<std::int64_t>(token) * task.num_heads + index) * dim;
#pragma unroll
    for (int i = 0; i < kMostPerLane; ++i)
      if (lane + 32 * i < dim)
        store_element(task.queries, task.query_element, at + lane + 32 * i, head.x[i]);
    return;
  }
  const int block = task.blocks[token];
  if (block < 0) return;
  const int kv_head = (index - task.num_heads) % kv_heads;
  append(task.cache,
         task.cache.data + block * task.cache.block_bytes + kv_head * task.cache.head_bytes,
         is_value, task.positions[token] % task.cache.block_size, head);
}

}  // namespace

void rope_append(const RopeAppendTask& task, StreamHandle stream) {
  const int heads = task.num_heads + 2 * task.cache.num_kv_heads;
  const dim3 grid(task.num_tokens, (heads + kWarps - 1) / kWarps);
  launch_kernel(rope_append_kernel, grid, 32 * kWarps, 0, stream, task);
}

}  // namespace iol::cuda
