// Causal attention in f32 over a cache of any element, without tensor cores: for f32 models and
// caches. One block of threads for each token and query head; positions in chunks of 128 with an
// online softmax.
#include <math_constants.h>

#include "backend/cuda/kernels/epilogue.cuh"
#include "backend/cuda/kernels/reduce.cuh"

namespace iol::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kMostDim = 256;

/// Element `at` (see cache_offset()) of a plane as f32.
__device__ float cache_value(const std::byte* plane, CacheElement element, int at) {
  switch (element) {
    case CacheElement::kF32:
      return reinterpret_cast<const float*>(plane)[at];
    case CacheElement::kF16:
      return f16_value(reinterpret_cast<const std::uint16_t*>(plane)[at]);
    case CacheElement::kBf16:
      return bf16_value(reinterpret_cast<const std::uint16_t*>(plane)[at]);
    case CacheElement::kInt8:
      return static_cast<float>(reinterpret_cast<const std::int8_t*>(plane)[at]);
    default:
      return e4m3_value(reinterpret_cast<const std::uint8_t*>(plane)[at]);
  }
}

__device__ float query_value(const AttentionTask& task, std::int64_t at) {
  if (task.query_element == Element::kF32) return static_cast<const float*>(task.queries)[at];
  const std::uint16_t bits = static_cast<const std::uint16_t*>(task.queries)[at];
  return task.query_element == Element::kBf16 ? bf16_value(bits) : f16_value(bits);
}

/// A position's key and value of one head.
struct Place {
  const std::byte* keys;
  const std::byte* values;
  float key_scale;
  float value_scale;
  int offset;  // in the block
};

__device__ Place place_at(const AttentionTask& task, const std::int32_t* table, int kv_head,
                          int position) {
  const CacheView& cache = task.cache;
  const std::int64_t block = table[position / cache.block_size];
  const std::byte* head = cache.data + block * cache.block_bytes + kv_head * cache.head_bytes;
  const std::int64_t plane = static_cast<std::int64_t>(cache.block_size) * cache.head_dim *
                             cache_element_bytes(cache.element);
  Place place = {head, head + plane, 1.0F, 1.0F, position % cache.block_size};
  if (cache.element == CacheElement::kInt8 || cache.element == CacheElement::kFp8) {
    const auto* scales = reinterpret_cast<const float*>(head + 2 * plane);
    place.key_scale = scales[place.offset];
    place.value_scale = scales[cache.block_size + place.offset];
  }
  return place;
}

__global__ void __launch_bounds__(kThreads)
    attention_f32_kernel(AttentionTask task, const std::int32_t* token_slices) {
  __shared__ float query[kMostDim];
  __shared__ float weights[kThreads];
  __shared__ float scratch[kThreads / 32];
  let_next_start();
  wait_for_previous();
  const int token = blockIdx.x;
  const int head = blockIdx.y;
  const Slice slice = task.slices[token_slices[token]];
  if (token >= slice.first_token + slice.num_tokens) return;  // padding of the batch
  const int dim = task.cache.head_dim;
  const int bytes = cache_element_bytes(task.cache.element);
  const int kv_head = head / (task.num_heads / task.cache.num_kv_heads);
  const std::int32_t* table = task.tables + slice.first_entry;
  const int last = slice.first_position + token - slice.first_token;
  const int first = task.window > 0 ? max(last + 1 - task.window, 0) : 0;
  const std::int64_t base = (static_cast<std::int64_t>(token) * task.num_heads + head) * dim;
  for (int d = threadIdx.x; d < dim; d += kThreads) query[d] = query_value(task, base + d);
  __syncthreads();
  float most = -CUDART_INF_F;
  float total = 0;
  float sums[kMostDim / kThreads] = {};
  for (int chunk = first / kThreads * kThreads; chunk <= last; chunk += kThreads) {
    const int position = chunk + static_cast<int>(threadIdx.x);
    const bool visible = position >= first && position <= last;
    float score = -CUDART_INF_F;
    float value_scale = 0;
    if (visible) {
      const Place place = place_at(task, table, kv_head, position);
      float dot = 0;
      for (int d = 0; d < dim; ++d)
        dot = __fmaf_rn(query[d],
                        cache_value(place.keys, task.cache.element,
                                    cache_offset(bytes, dim, false, place.offset, d)),
                        dot);
      score = dot * place.key_scale * task.scale;
      value_scale = place.value_scale;
    }
    const float larger = fmaxf(most, block_max<kThreads>(score, scratch));
    const float weight = visible ? expf(score - larger) : 0.0F;
    const float rescale = most == -CUDART_INF_F ? 0.0F : expf(most - larger);
    total = __fmaf_rn(total, rescale, block_sum<kThreads>(weight, scratch));
    most = larger;
    weights[threadIdx.x] = visible ? weight * value_scale : 0.0F;
    __syncthreads();
    const int begin = max(first, chunk);
    const int end = min(last + 1, chunk + kThreads);
#pragma unroll
    for (int i = 0; i < kMostDim / kThreads; ++i) {
      const int d = threadIdx.x + i * kThreads;
      if (d >= dim) continue;
      float sum = sums[i] * rescale;
      for (int p = begin; p < end; ++p) {
        const Place place = place_at(task, table, kv_head, p);
        sum = __fmaf_rn(weights[p - chunk],
                        cache_value(place.values, task.cache.element,
                                    cache_offset(bytes, dim, true, place.offset, d)),
                        sum);
      }
      sums[i] = sum;
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < kMostDim / kThreads; ++i) {
    const int d = threadIdx.x + i * kThreads;
    if (d < dim)
      store_element(task.out, task.out_element,
                    static_cast<std::int64_t>(token) * task.out_stride +
                        dealt_column(head * dim + d, element_bytes(task.out_element), task.out_run),
                    __fdiv_rn(sums[i], total));
  }
}

}  // namespace

void attention_f32(const AttentionTask& task, const std::int32_t* token_slices,
                   StreamHandle stream) {
  const dim3 grid(task.num_tokens, task.num_heads);
  launch_kernel(attention_f32_kernel, grid, kThreads, 0, stream, task, token_slices);
}

}  // namespace iol::cuda
