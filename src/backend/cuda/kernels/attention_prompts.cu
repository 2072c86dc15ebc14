// Attention of prompts by wgmma, with the rules of attention.cu and so with its bits. A block of
// threads takes 128 rows of a slice at a time: two warpgroups have 64 of them each
// (prompts_rows.cuh), and a third brings the keys and values that both see to shared memory
// (prompts_fill.cuh). For each chunk of 256 positions:
//
//   scores   64 x 256 of a group, in registers
//   weights  made of them where they are: no shared memory, no barrier (prompts_weights.cuh)
//   values   added up under them over the chunk, then merged into the result
//
// As many blocks as there are multiprocessors stay until all tiles are done (prompts_tiles.cuh).
#include <cuda_runtime_api.h>

#include <algorithm>

#include "backend/cuda/kernels/prompts_fill.cuh"
#include "backend/cuda/kernels/prompts_rows.cuh"

namespace iol::cuda {
namespace {

template <class Codec, int kDim>
__global__ void __launch_bounds__(kPromptThreads, 1)
    prompts_kernel(const __grid_constant__ PromptArgs args) {
#if defined(__CUDA_ARCH__) && defined(IOL_HAS_WGMMA)
  using Memory = PromptMemory<Codec, kDim>;
  extern __shared__ __align__(1024) std::byte shared_memory[];
  auto& memory = *reinterpret_cast<Memory*>(shared_memory);
  if (threadIdx.x == 0) memory.init();
  __syncthreads();
  let_next_start();
  const int group = first_lanes(static_cast<int>(threadIdx.x) / 128);
  if (group == kPromptGroups) {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 24;");
    const int warp = first_lanes(static_cast<int>(threadIdx.x) / 32 % 4);
    if (warp == 0) {
      TileFinder<Memory>{args, memory}.run();
    } else if (warp == 1) {
      RunCopier<Codec, kDim>(args, memory).run();
    } else if constexpr (Codec::kCoded) {
      CodeWidener<Codec, kDim>(memory, warp - 2).run();
    }
  } else {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 240;");
    PromptRows<Codec, kDim>(args, memory, group).run();
  }
#endif
}

template <class Codec, int kDim>
void launch(const AttentionTask& task, StreamHandle stream) {
  auto* kernel = prompts_kernel<Codec, kDim>;
  constexpr int kBytes = sizeof(PromptMemory<Codec, kDim>);
  static_assert(kBytes <= 227 * 1024);  // what a block may have
  const int items = task.num_tiles * task.cache.num_kv_heads;
  const int heads = task.num_heads / task.cache.num_kv_heads;
  const PromptArgs args = {task, heads, (1 << 16) / heads + 1};
  launch_kernel(kernel, std::min(items, multiprocessors()), kPromptThreads, kBytes, stream, args);
}

}  // namespace

bool attention_takes_prompts(const CacheView& cache) {
  return takes_hopper_kernels() && cache.element != CacheElement::kF32 &&
         (cache.head_dim == 64 || cache.head_dim == 128);
}

void attention_prompts(const AttentionTask& task, StreamHandle stream) {
  with_codec(task.cache.element, [&]<class Codec>(const Codec&) {
    if (task.cache.head_dim == 64) {
      launch<Codec, 64>(task, stream);
    } else {
      launch<Codec, 128>(task, stream);
    }
  });
}

}  // namespace iol::cuda
