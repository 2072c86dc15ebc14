// Behind the QKV projection: queries become the attention's operand, keys and values go to the
// cache (head.cuh). A warp takes four queries and keys of a token, all of them asked for before one
// is waited for; or the values of up to eight tokens, since the cache has neighbouring positions of
// an element side by side.
#include "backend/cuda/kernels/head.cuh"

namespace iol::cuda {
namespace {

constexpr int kHeadsOfWarp = 4;

/// `index`: of the tokens that are taken.
__device__ __forceinline__ int token_at(const RopeAppendTask& task, int index) {
  return task.tokens != nullptr ? task.tokens[index] : index;
}
__device__ __forceinline__ std::byte* head_of_block(const CacheView& cache, int block,
                                                    int kv_head) {
  return cache.data + block * cache.block_bytes + kv_head * cache.head_bytes;
}

template <int kPerLane>
__device__ __forceinline__ void store_query(const RopeAppendTask& task, int token, int index,
                                            const Head<kPerLane>& head) {
  const int lane = threadIdx.x % 32;
  const int dim = task.cache.head_dim;
  const std::int64_t row = static_cast<std::int64_t>(token) * task.num_heads + index;
  float factor = 1;
  if (task.query_scales != nullptr) {
    const F16Scale found(largest_magnitude(head));
    factor = found.inverse;
    if (lane == 0) task.query_scales[row] = found.scale;
  }
#pragma unroll
  for (int i = 0; i < kPerLane; ++i)
    if (lane + 32 * i < dim)
      store_element(task.queries, task.query_element, row * dim + lane + 32 * i,
                    __fmul_rn(head.x[i], factor));
}

/// Heads from `first` on of a token's queries and keys, up to head `end`.
template <int kPerLane>
__device__ __forceinline__ void take_heads(const RopeAppendTask& task, int first, int end) {
  // The step's input, which no kernel writes.
  const int token = token_at(task, static_cast<int>(blockIdx.x));
  const int block = task.blocks[token];
  const int position = task.positions[token] % task.cache.block_size;
  wait_for_previous();
  const Angles<kPerLane> angles = load_angles<kPerLane>(task, token);
  Head<kPerLane> heads[kHeadsOfWarp];
#pragma unroll
  for (int j = 0; j < kHeadsOfWarp; ++j)
    heads[j] = load_head<kPerLane>(task, token, min(first + j, end - 1));
#pragma unroll
  for (int j = 0; j < kHeadsOfWarp; ++j) {
    const int index = first + j;
    if (index >= end) return;
    turn_head(task, index, angles, heads[j]);
    if (index < task.num_heads) {
      store_query(task, token, index, heads[j]);
    } else if (block >= 0) {
      append(task.cache, head_of_block(task.cache, block, index - task.num_heads), false, position,
             heads[j]);
    }
  }
}

/// Values of the token and of those that follow it in the list and in the same eight positions of
/// a block; nothing where the one before it takes it along.
template <int kPerLane>
__device__ __forceinline__ void append_values(const RopeAppendTask& task, int kv_head) {
  const CacheView& cache = task.cache;
  const int lane = threadIdx.x % 32;
  const int index = static_cast<int>(blockIdx.x);
  const int token = token_at(task, index);
  const int block = task.blocks[token];
  const int first = task.positions[token];
  // A lane looks at the token before, lane 1 at this one, and so on.
  const int other = index - 1 + lane;
  bool is_near = false;
  int other_token = 0;
  if (lane <= kValueRow && other >= 0 && other < task.num_tokens) {
    other_token = token_at(task, other);
    const int place = first + lane - 1;
    is_near = task.blocks[other_token] == block && task.positions[other_token] == place &&
              place / kValueRow == first / kValueRow;
  }
  const unsigned near = __ballot_sync(0xffffffffU, is_near);
  if (block < 0 || (near & 1U) != 0) return;
  const int count = __ffs(static_cast<int>(~(near >> 1))) - 1;
  const int head = task.num_heads + cache.num_kv_heads + kv_head;
  wait_for_previous();
  Head<kPerLane> values[kValueRow];
#pragma unroll
  for (int j = 0; j < kValueRow; ++j) {
    const int each = __shfl_sync(0xffffffffU, other_token, 1 + min(j, count - 1));
    if (j < count) values[j] = load_head<kPerLane>(task, each, head);
  }
  std::byte* data = head_of_block(cache, block, kv_head);
  const int position = first % cache.block_size;
  if (count == kValueRow) return append_row(cache, data, position, values);
#pragma unroll
  for (int j = 0; j < kValueRow; ++j)
    if (j < count) append(cache, data, true, position + j, values[j]);
}

IOL_HOST_DEVICE constexpr int warps_that_turn(int heads) {
  return (heads + kHeadsOfWarp - 1) / kHeadsOfWarp;
}

template <int kPerLane>
__global__ void __launch_bounds__(32 * kHeadWarps) rope_append_kernel(RopeAppendTask task) {
  const int kv_heads = task.cache.num_kv_heads;
  const int warp = static_cast<int>(blockIdx.y) * kHeadWarps + threadIdx.x / 32;  // of the token
  const int turned = task.num_heads + kv_heads;
  const int turning_warps = warps_that_turn(turned);
  let_next_start();
  if (warp < turning_warps) {
    take_heads<kPerLane>(task, warp * kHeadsOfWarp, turned);
  } else if (warp < turning_warps + kv_heads) {
    append_values<kPerLane>(task, warp - turning_warps);
  }
}

template <int kPerLane>
void launch(const RopeAppendTask& task, StreamHandle stream) {
  const int kv_heads = task.cache.num_kv_heads;
  const int warps = warps_that_turn(task.num_heads + kv_heads) + kv_heads;
  const dim3 grid(task.num_tokens, (warps + kHeadWarps - 1) / kHeadWarps);
  launch_kernel(rope_append_kernel<kPerLane>, grid, 32 * kHeadWarps, 0, stream, task);
}

}  // namespace

void rope_append(const RopeAppendTask& task, StreamHandle stream) {
  if (task.num_tokens == 0) return;
  if (task.cache.head_dim <= 64) return launch<2>(task, stream);
  if (task.cache.head_dim <= 128) return launch<4>(task, stream);
  launch<8>(task, stream);  // heads of at most 256
}

}  // namespace iol::cuda
