// Behind the QKV projection, one warp for each head of a token: queries become the attention's
// operand, keys and values go to the cache (head.cuh).
#include "backend/cuda/kernels/head.cuh"

namespace iol::cuda {
namespace {

template <int kPerLane>
__global__ void __launch_bounds__(32 * kHeadWarps) rope_append_kernel(RopeAppendTask task) {
  const int lane = threadIdx.x % 32;
  const int index = blockIdx.y * kHeadWarps + threadIdx.x / 32;  // of the head
  const int kv_heads = task.cache.num_kv_heads;
  const int dim = task.cache.head_dim;
  let_next_start();
  if (index >= task.num_heads + 2 * kv_heads) return;
  // The step's input, which no kernel writes.
  const int token = task.tokens != nullptr ? task.tokens[blockIdx.x] : static_cast<int>(blockIdx.x);
  const int block = task.blocks[token];
  const int position = task.positions[token] % task.cache.block_size;
  wait_for_previous();
  const Head<kPerLane> head = load_head<kPerLane>(task, token, index);
  if (index < task.num_heads) {
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
    return;
  }
  if (block < 0) return;
  const int kv_head = (index - task.num_heads) % kv_heads;
  append(task.cache,
         task.cache.data + block * task.cache.block_bytes + kv_head * task.cache.head_bytes,
         index >= task.num_heads + kv_heads, position, head);
}

}  // namespace

void rope_append(const RopeAppendTask& task, StreamHandle stream) {
  if (task.num_tokens == 0) return;
  const int heads = task.num_heads + 2 * task.cache.num_kv_heads;
  const dim3 grid(task.num_tokens, (heads + kHeadWarps - 1) / kHeadWarps);
  const auto launch = [&](auto* kernel) {
    launch_kernel(kernel, grid, 32 * kHeadWarps, 0, stream, task);
  };
  if (task.cache.head_dim <= 64) return launch(rope_append_kernel<2>);
  if (task.cache.head_dim <= 128) return launch(rope_append_kernel<4>);
  launch(rope_append_kernel<8>);  // heads of at most 256
}

}  // namespace iol::cuda
