#pragma once
// x W^T with tensor cores for some dozen plain rows on compute capability 9.0: a cluster of eight
// blocks of threads makes 64 rows, each block one part of K with a warp for each tile of 16 rows.
// Warps of a block read the same rows of x, which the L1 cache then holds; the parts' sums are
// added in ascending order through the cluster's shared memory, each block finishing an eighth of
// the tokens. The order of every sum is that of linear_tile.cuh.
#include "backend/cuda/kernels/linear_tile.cuh"

namespace iol::cuda {

inline constexpr int kClusterTiles = 4;
inline constexpr int kClusterRows = kClusterTiles * kTileRows;
inline constexpr int kClusterThreads = 32 * kClusterTiles;

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
__device__ __forceinline__ int cluster_rank() {
  int rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}
__device__ __forceinline__ void cluster_barrier() {
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}
/// A number in the shared memory of another block of the cluster, at the place of `local` in ours.
__device__ __forceinline__ float load_from(const float* local, int rank) {
  const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(local));
  std::uint32_t remote;
  float value;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(remote) : "r"(address), "r"(rank));
  asm volatile("ld.shared::cluster.f32 %0, [%1];" : "=f"(value) : "r"(remote) : "memory");
  return value;
}
#endif

template <class Format, int kColumns, int kDepth>
__global__ void __launch_bounds__(kClusterThreads, kColumns == 8 ? 3 : 4)
    linear_cluster_kernel(LinearArgs args) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
  constexpr int kStride = kClusterRows + 4;
  __shared__ float sums_of_part[kColumns * 8 * kStride];  // [token][row], padded
  const int part = cluster_rank();
  const int warp = threadIdx.x / 32;
  const int lane = threadIdx.x % 32;
  const int first_tile = blockIdx.x / kNumParts * kClusterTiles;
  const int first_token = blockIdx.y * kColumns * 8;
  typename Format::Sum sums[1][kColumns] = {};
  constexpr int kAhead = kColumns <= 2 ? kDepth : kColumns == 8 ? 1 : 2;
  sum_part<Format, kDepth, kAhead>(args, MadeBefore{args}, first_tile + warp, first_token, part,
                                   sums);
#pragma unroll
  for (int c = 0; c < kColumns; ++c) {
    float* out = sums_of_part + (c * 8 + lane % 4 * 2) * kStride + warp * kTileRows + lane / 4;
    out[0] = Format::bits(sums[0][c], 0);
    out[kStride] = Format::bits(sums[0][c], 1);
    out[8] = Format::bits(sums[0][c], 2);
    out[kStride + 8] = Format::bits(sums[0][c], 3);
  }
  cluster_barrier();
  const auto total = [&](int token, int row) {
    typename Format::Part sum = 0;
#pragma unroll
    for (int p = 0; p < kNumParts; ++p)
      sum += Format::part(load_from(sums_of_part + token * kStride + row, p));
    return Format::value(args, first_token + token, first_tile * kTileRows + row, sum);
  };
  const EpilogueArgs& epilogue = args.epilogue;
  const int first_row = first_tile * kTileRows;
  if (epilogue.kind == Epilogue::kSwiGlu) {
    for (int i = threadIdx.x; i < kColumns * kClusterRows / 2; i += kClusterThreads) {
      const int token = part * kColumns + i / (kClusterRows / 2);
      const int place = i % (kClusterRows / 2);
      const int row = place / kTileRows * 2 * kTileRows + place % kTileRows;
      if (first_token + token < epilogue.num_tokens)
        finish_gated(epilogue, first_token + token, first_row + row, total(token, row),
                     total(token, row + kTileRows));
    }
  } else {
    for (int i = threadIdx.x; i < kColumns * kClusterRows; i += kClusterThreads) {
      const int token = part * kColumns + i / kClusterRows;
      const int row = i % kClusterRows;
      const bool present = first_token + token < epilogue.num_tokens;
      const float value = present ? total(token, row) : 0.0F;
      finish(epilogue, first_token + token, first_row + row, value);
      if (epilogue.kind == Epilogue::kLogits)
        offer_best(epilogue, first_token + token, first_row + row, value, present);
    }
  }
  cluster_barrier();  // nobody leaves while its memory is read
#endif
}

template <class Format, int kColumns, int kDepth>
void launch_cluster(const LinearTask& task, StreamHandle stream) {
  const dim3 grid(task.matrix.rows / kClusterRows * kNumParts,
                  (task.num_tokens + kColumns * 8 - 1) / (kColumns * 8));
  launch_clusters(linear_cluster_kernel<Format, kColumns, kDepth>, grid, kNumParts, kClusterThreads,
                  0, stream, linear_args<Format>(task));
}

/// By the number of tokens; beyond 64 in blocks of 64.
template <class Format>
void launch_cluster(const LinearTask& task, StreamHandle stream) {
  if (task.num_tokens <= 16) {
    launch_cluster<Format, 2, 4>(task, stream);
  } else if (task.num_tokens <= 32) {
    launch_cluster<Format, 4, 4>(task, stream);
  } else {
    launch_cluster<Format, 8, 4>(task, stream);
  }
}

}  // namespace iol::cuda
