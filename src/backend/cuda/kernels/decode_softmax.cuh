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
  constexpr int kUnits = kDim / 16;
  constexpr int kRunBytes = kUnits * 32 * static_cast<int>(sizeof(typename Codec::Stored));
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const uint4 operand = Codec::operand(load_key<Codec>(keys + i * kRunBytes, unit, kUnits));
    Codec::mma(scores[2 * i], query, operand.x, operand.y);
    Codec::mma(scores[2 * i + 1], query, operand.z, operand.w);
  }
}

/// Products with codes times the scales of keys, before any is masked. `key_scales`: of the warp's
/// positions.
template <int kHalves>
__device__ __forceinline__ void scale_scores(const float* key_scales, DecodeScores& scores) {
  const auto* pairs = reinterpret_cast<const float2*>(key_scales) + threadIdx.x % 4;
#pragma unroll
  for (int n = 0; n < 8; ++n) {
    const float2 scale = pairs[n * 4];
#pragma unroll
    for (int half = 0; half < kHalves; ++half) {
      scores[n][half * 2] = __fmul_rn(scores[n][half * 2], scale.x);
      scores[n][half * 2 + 1] = __fmul_rn(scores[n][half * 2 + 1], scale.y);
    }
  }
}

/// Masks what a row doesn't see.
template <int kHalves>
__device__ __forceinline__ void mask_scores(const DecodeArgs& args, const DecodeTile& tile,
                                            int first_position, DecodeScores& scores) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int half = 0; half < kHalves; ++half) {
    const int row = half * 8 + lane / 4;
    const int token = tile.first_query + (row * args.group_inverse >> 16);
    const int last = row < tile.num_rows ? tile.slice.first_position + token : -1;
    // Counted from the lane's first position.
    const int end = last - (first_position + lane % 4 * 2);
#pragma unroll
    for (int n = 0; n < 8; ++n) {
#pragma unroll
      for (int c = 0; c < 2; ++c)
        if (n * 8 + c > end) scores[n][half * 2 + c] = -CUDART_INF_F;
    }
    if (args.window == 0) continue;
#pragma unroll
    for (int n = 0; n < 8; ++n) {
#pragma unroll
      for (int c = 0; c < 2; ++c)
        if (n * 8 + c <= end - args.window) scores[n][half * 2 + c] = -CUDART_INF_F;
    }
  }
}

/// Of a row that a lane has, over the chunk.
template <int kHalves>
struct DecodeStats {
  float most[kHalves];  // in units of log2
  float total[kHalves];
  float factor[kHalves];        // of scores, to units of log2
  float weight_scale[kHalves];  // what weights were divided by, beside codes
};

/// Of each warp's positions, for all rows: a row's four beside each other.
template <class T>
using OfWarps = T[kDecodeTileRows][kAttentionWarps];

/// `factors`: beside codes, of queries; else null.
template <int kHalves>
__device__ __forceinline__ void find_most(const DecodeArgs& args, const float* factors,
                                          const DecodeScores& scores, OfWarps<float>& shared,
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
    if (lane % 4 == 0) shared[half * 8 + lane / 4][threadIdx.x / 32] = most;
    stats.factor[half] = args.scale;
    if (factors != nullptr)
      stats.factor[half] = __fmul_rn(args.scale, factors[half * 8 + lane / 4]);
  }
  __syncthreads();
#pragma unroll
  for (int half = 0; half < kHalves; ++half) {
    const float4 v = *reinterpret_cast<const float4*>(shared[half * 8 + lane / 4]);
    stats.most[half] = __fmul_rn(fmaxf(fmaxf(v.x, v.y), fmaxf(v.z, v.w)), stats.factor[half]);
  }
}

/// Weights 2^(score * factor - most) in place; their sums over the warp's positions to shared
/// memory.
template <int kHalves>
__device__ __forceinline__ void exponentiate(const DecodeStats<kHalves>& stats,
                                             DecodeScores& scores, OfWarps<float>& shared) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int half = 0; half < kHalves; ++half) {
    const float most = stats.most[half] == -CUDART_INF_F ? 0.0F : stats.most[half];
    float total = 0;
#pragma unroll
    for (int n = 0; n < 8; ++n) {
      float& first = scores[n][half * 2];
      float& second = scores[n][half * 2 + 1];
      first = power_of_two(__fmaf_rn(first, stats.factor[half], -most));
      second = power_of_two(__fmaf_rn(second, stats.factor[half], -most));
      total = __fadd_rn(total, __fadd_rn(first, second));
    }
    total += __shfl_xor_sync(0xffffffffU, total, 1);
    total += __shfl_xor_sync(0xffffffffU, total, 2);
    if (lane % 4 == 0) shared[half * 8 + lane / 4][threadIdx.x / 32] = total;
  }
}

/// Weights times the scales of values, divided by a power of two of each row's.
template <int kHalves>
__device__ __forceinline__ void scale_weights(const float* value_scales,
                                              OfWarps<std::uint32_t>& shared, DecodeScores& weights,
                                              DecodeStats<kHalves>& stats) {
  const int lane = threadIdx.x % 32;
  const auto* pairs = reinterpret_cast<const float2*>(value_scales) + lane % 4;
  std::uint32_t largest[kHalves] = {};
#pragma unroll
  for (int n = 0; n < 8; ++n) {
    const float2 scale = pairs[n * 4];
#pragma unroll
    for (int half = 0; half < kHalves; ++half) {
      float& first = weights[n][half * 2];
      float& second = weights[n][half * 2 + 1];
      // What is masked stays masked, whatever scale it has.
      if (first != 0.0F) first = __fmul_rn(first, scale.x);
      if (second != 0.0F) second = __fmul_rn(second, scale.y);
      largest[half] = larger(largest[half], first, second);
    }
  }
#pragma unroll
  for (int half = 0; half < kHalves; ++half) {
    largest[half] = largest_of_lanes(largest[half], 4);
    if (lane % 4 == 0) shared[half * 8 + lane / 4][threadIdx.x / 32] = largest[half];
  }
  __syncthreads();
#pragma unroll
  for (int half = 0; half < kHalves; ++half) {
    const uint4 v = *reinterpret_cast<const uint4*>(shared[half * 8 + lane / 4]);
    const F16Scale found(max(max(v.x, v.y), max(v.z, v.w)));
    stats.weight_scale[half] = found.scale;
#pragma unroll
    for (int n = 0; n < 8; ++n) {
#pragma unroll
      for (int c = 0; c < 2; ++c)
        weights[n][half * 2 + c] = __fmul_rn(weights[n][half * 2 + c], found.inverse);
    }
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
__device__ __forceinline__ void find_totals(const OfWarps<float>& shared,
                                            DecodeStats<kHalves>& stats) {
#pragma unroll
  for (int half = 0; half < kHalves; ++half) {
    const float4 v =
        *reinterpret_cast<const float4*>(shared[half * 8 + static_cast<int>(threadIdx.x) % 32 / 4]);
    stats.total[half] = v.x + v.y + v.z + v.w;
  }
}

}  // namespace iol::cuda
