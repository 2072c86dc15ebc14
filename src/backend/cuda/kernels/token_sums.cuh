#pragma once
// Where finishing finds the sums over K of a unit of linear_wgmma.cuh and its kind: [token][row] in
// shared memory, a group's 64 rows, of some tokens, of all, or of each block of a cluster. A Source
//   take(token, row, sum)   gives those of four neighbouring rows
//   token_scale(token)      what the token's are multiplied by
#include <type_traits>

#include "backend/cuda/kernels/cluster.cuh"
#include "backend/cuda/kernels/linear_tile.cuh"

namespace iol::cuda {

inline constexpr int kFinishThreads = 128;
inline constexpr int kFinishRows = 64;
/// Of a group's sums, [token][row]: padded so that a warp's stores meet no bank twice.
inline constexpr int kSumStride = kFinishRows + 4;

__device__ __forceinline__ float4 load_four(const float* p) {
  return *reinterpret_cast<const float4*>(p);
}

/// Sums [chunk * kCount, (chunk + 1) * kCount) of the thread's, to [token][row].
template <int kCount, int kSize, class Part>
__device__ __forceinline__ void store_chunk(const Part (&d)[kSize], int chunk, float* sums) {
  const int thread = threadIdx.x % kFinishThreads;
  float* place = sums + thread % 4 * 2 * kSumStride + thread / 32 * kTileRows + thread % 32 / 4;
#pragma unroll
  for (int c = 0; c < kSize / kCount; ++c) {
    if (c != chunk) continue;
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      float* at = place + (i / 4 * 8 + i % 2) * kSumStride + i % 4 / 2 * 8;
      if constexpr (std::is_same_v<Part, int>) {
        *at = __int_as_float(d[c * kCount + i]);
      } else {
        *at = d[c * kCount + i];
      }
    }
  }
}

/// Four sums of a group, of neighbouring rows.
template <class Format>
__device__ __forceinline__ void take_four(const float* sums, typename Format::Part (&sum)[4]) {
  const float4 v = load_four(sums);
  sum[0] = Format::part(v.x), sum[1] = Format::part(v.y);
  sum[2] = Format::part(v.z), sum[3] = Format::part(v.w);
}

/// Scales of a unit's tokens, from device memory.
template <class Format>
struct TokenScales {
  const LinearArgs& args;
  int first_token;  // of the unit
  __device__ __forceinline__ float token_scale(int token) const {
    return token_scale_of<Format>(args, first_token + token);
  }
};

/// Sums of some tokens and a group's rows in shared memory, [token][row], each token's scale behind
/// its rows.
template <class Format, int kChunk>
struct ChunkSums {
  float* sums;
  __device__ __forceinline__ void put_token_scale(int token, float scale) const {
    if constexpr (Format::kHasTokenScales) sums[token * kSumStride + kFinishRows] = scale;
  }
  __device__ __forceinline__ float token_scale(int token) const {
    if constexpr (!Format::kHasTokenScales) return 1;
    return sums[token % kChunk * kSumStride + kFinishRows];
  }
  __device__ __forceinline__ void take(int token, int row, typename Format::Part (&sum)[4]) const {
    take_four<Format>(sums + token % kChunk * kSumStride + row, sum);
  }
};

/// Sums of all tokens of a unit and a group's rows in shared memory, [token][row].
template <class Format>
struct UnitSums : TokenScales<Format> {
  const float* sums;
  __device__ __forceinline__ void take(int token, int row, typename Format::Part (&sum)[4]) const {
    take_four<Format>(sums + token * kSumStride + row, sum);
  }
};

/// The scale of the token of a unit that has the thread's number in its group.
template <class Format>
__device__ __forceinline__ float own_token_scale(const LinearArgs& args, int first_token) {
  const int token = first_token + static_cast<int>(threadIdx.x) % kFinishThreads;
  return token < args.epilogue.num_tokens ? token_scale_of<Format>(args, token) : 0.0F;
}

/// Sums of a cluster's parts, each [token][row] at the same place in kSplit blocks, kSums to a
/// block, kSumTokens tokens to each.
template <class Format, int kSplit, int kSums, int kSumTokens>
struct ClusterSums : TokenScales<Format> {
  const float* sums;
  __device__ __forceinline__ void take(int token, int row, typename Format::Part (&sum)[4]) const {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
    for (auto& one : sum) one = 0;
#pragma unroll
    for (int i = 0; i < kSplit * kSums; ++i) {
      const float4 v =
          load_four_from(sums + (i % kSums * kSumTokens + token) * kSumStride + row, i / kSums);
      sum[0] += Format::part(v.x), sum[1] += Format::part(v.y);
      sum[2] += Format::part(v.z), sum[3] += Format::part(v.w);
    }
#endif
  }
};

}  // namespace iol::cuda
