#pragma once
// Scores of a chunk and the weights they become, for attention_decode.cu: what attention_scores.cuh
// does, of kHalves x 8 rows and with keys in shared memory.
#include "backend/cuda/kernels/decode_chunk.cuh"

namespace iol::cuda {

/// A lane's products of rows g and g + 8 with the warp's positions: 8 n + 2 q and the next.
using DecodeScores = float[8][4];

/// Operand A of 16 rows, or of 8 and zeros.
template <int kHalves>
__device__ __forceinline__ uint4 load_operand(const std::uint32_t* operands, int unit) {
  const int at = unit * 32 + static_cast<int>(threadIdx.x) % 32;
  if constexpr (kHalves == 2) return reinterpret_cast<const uint4*>(operands)[at];
  const uint2 half = reinterpret_cast<const uint2*>(operands)[at];
  return make_uint4(half.x, 0, half.y, 0);
}

/// Adds to the scores of the warp's keys, in four runs from `keys` on, what unit `unit` of D gives.
template <class Codec, int kDim>
__device__ __forceinline__ void multiply_unit(const uint4& query, const std::byte* keys, int unit,
                                              DecodeScores& scores) {
  using Stored = typename Codec::Stored;
  const auto* lane_keys = reinterpret_cast<const Stored*>(keys) + unit * 32 + threadIdx.x % 32;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const uint4 operand = Codec::operand(lane_keys[i * (kDim / 16) * 32]);
    Codec::mma(scores[2 * i], query, operand.x, operand.y);
    Codec::mma(scores[2 * i + 1], query, operand.z, operand.w);
  }
}

/// By the scales of the warp's positions.
template <int kHalves>
__device__ __forceinline__ void multiply_scales(const float* scales, DecodeScores& scores) {
  const auto* pairs = reinterpret_cast<const float2*>(scales) + threadIdx.x % 4;
#pragma unroll
  for (int n = 0; n < 8; ++n) {
    const float2 scale = pairs[n * 4];
#pragma unroll
    for (int i = 0; i < 2 * kHalves; ++i) {
      float& score = scores[n][i];
      // What is masked stays masked, whatever scale it has.
      if (score != -CUDART_INF_F && score != 0.0F) score *= i % 2 == 0 ? scale.x : scale.y;
    }
  }
}

/// Scales the scores to units of log2, and masks what a row doesn't see.
template <int kHalves>
__device__ __forceinline__ void mask_scores(const DecodeArgs& args, const DecodeTile& tile,
                                            int first_position, DecodeScores& scores) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int half = 0; half < kHalves; ++half) {
    const int row = half * 8 + lane / 4;
    const int token = row * args.group_inverse >> 16;
    const int last = row < tile.num_rows ? tile.slice.first_position + token : -1;
    const int first = args.window > 0 ? last - args.window + 1 : 0;
    // Counted from the lane's first position.
    const int end = last - (first_position + lane % 4 * 2);
    const int begin = first - (first_position + lane % 4 * 2);
#pragma unroll
    for (int n = 0; n < 8; ++n) {
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        float& score = scores[n][half * 2 + c];
        score = n * 8 + c <= end && n * 8 + c >= begin ? score * args.scale : -CUDART_INF_F;
      }
    }
  }
}

/// Of a row that a lane has, over the chunk.
template <int kHalves>
struct DecodeStats {
  float most[kHalves];
  float total[kHalves];
};

template <int kHalves>
__device__ __forceinline__ void find_most(const DecodeScores& scores,
                                          float (&shared)[kAttentionWarps][kDecodeTileRows],
                                          DecodeStats<kHalves>& stats) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int half = 0; half < kHalves; ++half) {
    float most = -CUDART_INF_F;
#pragma unroll
    for (int n = 0; n < 8; ++n)
      most = fmaxf(most, fmaxf(scores[n][half * 2], scores[n][half * 2 + 1]));
    most = fmaxf(most, __shfl_xor_sync(0xffffffffU, most, 1));
    most = fmaxf(most, __shfl_xor_sync(0xffffffffU, most, 2));
    if (lane % 4 == 0) shared[threadIdx.x / 32][half * 8 + lane / 4] = most;
  }
  __syncthreads();
#pragma unroll
  for (int half = 0; half < kHalves; ++half) {
    const int row = half * 8 + lane / 4;
    float most = shared[0][row];
#pragma unroll
    for (int w = 1; w < kAttentionWarps; ++w) most = fmaxf(most, shared[w][row]);
    stats.most[half] = most;
  }
}

/// Weights 2^(score - most) in place; their sums over the warp's positions to shared memory.
template <int kHalves>
__device__ __forceinline__ void exponentiate(DecodeScores& scores,
                                             const DecodeStats<kHalves>& stats,
                                             float (&shared)[kAttentionWarps][kDecodeTileRows]) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int half = 0; half < kHalves; ++half) {
    const float most = stats.most[half] == -CUDART_INF_F ? 0.0F : stats.most[half];
    float total = 0;
#pragma unroll
    for (int n = 0; n < 8; ++n) {
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        float& score = scores[n][half * 2 + c];
        score = power_of_two(score - most);
        total += score;
      }
    }
    total += __shfl_xor_sync(0xffffffffU, total, 1);
    total += __shfl_xor_sync(0xffffffffU, total, 2);
    if (lane % 4 == 0) shared[threadIdx.x / 32][half * 8 + lane / 4] = total;
  }
}

/// Positions of the chunk are the columns of operand A, as they are of the values' units.
template <class Codec, int kHalves>
__device__ __forceinline__ void store_weights(const DecodeScores& weights,
                                              std::uint32_t* operands) {
  const int lane = threadIdx.x % 32;
  const int quad = lane % 4;
  std::uint32_t* to =
      operands +
      ((static_cast<int>(threadIdx.x) / 32 * kRunsOfWarp * 32 + lane / 4 * 4 + quad / 2) * 2 +
       quad % 2) *
          kHalves;
#pragma unroll
  for (int n = 0; n < 8; ++n) {
#pragma unroll
    for (int half = 0; half < kHalves; ++half)
      to[(n / 2 * 32 + n % 2 * 2) * 2 * kHalves + half] =
          Codec::pack(weights[n][half * 2], weights[n][half * 2 + 1]);
  }
}

template <int kHalves>
__device__ __forceinline__ void find_totals(const float (&shared)[kAttentionWarps][kDecodeTileRows],
                                            DecodeStats<kHalves>& stats) {
#pragma unroll
  for (int half = 0; half < kHalves; ++half) {
    const int row = half * 8 + static_cast<int>(threadIdx.x) % 32 / 4;
    float total = shared[0][row];
#pragma unroll
    for (int w = 1; w < kAttentionWarps; ++w) total += shared[w][row];
    stats.total[half] = total;
  }
}

}  // namespace iol::cuda
