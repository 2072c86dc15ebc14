#pragma once
// From scores to weights in registers, for attention_prompts.cu: a lane has the columns 8 j + 2 q
// and the next of two rows for all 256 positions of a chunk, q = lane % 4, so that four lanes share
// a row. Maxima, exponentials and totals are those of attention_scores.cuh, in their order: a
// lane's pairs of a quarter of the chunk ascending, the four lanes, then the quarters ascending.
#include "backend/cuda/kernels/attention_tile.cuh"

namespace iol::cuda {

/// Rows g and g + 8 of a warp's sixteen, and all that its warpgroup has.
struct LaneRows {
  int first_position;  // of the group's first row
  int last_position;   // of its last; -1: it has none
  int first_seen;      // position
  float factor[2];     // of scores: to units of log2, and the query's scale
};
/// Of them in a chunk: see ChunkStats.
struct LaneStats {
  float most[2];
  float total[2];
  float weight_scale[2];
};

/// Of the first kQuarters quarters of a chunk, 64 positions each.
template <class Codec, int kQuarters>
struct ChunkWeights {
  using Scores = float[kQuarters * kWarpPositions / 2];  // 4 j + 2 half + c
  using Weights = std::uint32_t[kQuarters * 4][4];       // operand A of the runs
  using Totals = float[kQuarters][2];
  static constexpr int kTiles = 8;  // of 8 columns, of a quarter

  static __device__ __forceinline__ float& score(Scores& scores, int quarter, int n, int half,
                                                 int c) {
    return scores[(quarter * kTiles + n) * 4 + half * 2 + c];
  }
  /// Calls visit(quarter) for all of them.
  template <class Visit>
  static __device__ __forceinline__ void for_each_quarter(Visit visit) {
#pragma unroll
    for (int quarter = 0; quarter < kQuarters; ++quarter) visit(quarter);
  }

  /// Products with codes times the scales of keys.
  static __device__ __forceinline__ void scale(const float* key_scales, Scores& scores) {
    const auto* pairs = reinterpret_cast<const float2*>(key_scales) + threadIdx.x % 4;
    for_each_quarter([&](int quarter) {
#pragma unroll
      for (int n = 0; n < kTiles; ++n) {
        const float2 pair = pairs[(quarter * kTiles + n) * 4];
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          float& first = score(scores, quarter, n, half, 0);
          float& second = score(scores, quarter, n, half, 1);
          first = __fmul_rn(first, pair.x);
          second = __fmul_rn(second, pair.y);
        }
      }
    });
  }

  /// `seen`: the last position that a row sees. `first_position` of the chunk.
  static __device__ __forceinline__ void mask(const int (&seen)[2], int window, int first_position,
                                              Scores& scores) {
    const int lane_position = first_position + static_cast<int>(threadIdx.x) % 4 * 2;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int last = seen[half] - lane_position;
      const int first = window > 0 ? last - window + 1 : -kChunkPositions;
      for_each_quarter([&](int quarter) {
#pragma unroll
        for (int n = 0; n < kTiles; ++n) {
#pragma unroll
          for (int c = 0; c < 2; ++c) {
            const int column = (quarter * kTiles + n) * 8 + c;
            if (column > last || column < first) score(scores, quarter, n, half, c) = -CUDART_INF_F;
          }
        }
      });
    }
  }

  /// Weights in place of scores, before they are rounded; totals are the lane's.
  static __device__ __forceinline__ void soften(const LaneRows& rows, Scores& scores,
                                                LaneStats& stats, Totals& totals) {
    float base[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float most[kQuarters];
      for_each_quarter([&](int quarter) {
        most[quarter] = -CUDART_INF_F;
#pragma unroll
        for (int n = 0; n < kTiles; ++n)
          most[quarter] = fmaxf(most[quarter], fmaxf(score(scores, quarter, n, half, 0),
                                                     score(scores, quarter, n, half, 1)));
        if (quarter > 0) most[0] = fmaxf(most[0], most[quarter]);
      });
      most[0] = fmaxf(most[0], __shfl_xor_sync(0xffffffffU, most[0], 1));
      most[0] = fmaxf(most[0], __shfl_xor_sync(0xffffffffU, most[0], 2));
      stats.most[half] = __fmul_rn(most[0], rows.factor[half]);
      base[half] = stats.most[half] == -CUDART_INF_F ? 0.0F : stats.most[half];
    }
    for_each_quarter([&](int quarter) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float& total = totals[quarter][half];
        total = 0;
#pragma unroll
        for (int n = 0; n < kTiles; ++n) {
          float& first = score(scores, quarter, n, half, 0);
          float& second = score(scores, quarter, n, half, 1);
          first = power_of_two(__fmaf_rn(first, rows.factor[half], -base[half]));
          second = power_of_two(__fmaf_rn(second, rows.factor[half], -base[half]));
          total = __fadd_rn(total, __fadd_rn(first, second));
        }
      }
    });
  }
  /// The rows' totals of the lanes'.
  static __device__ __forceinline__ void add_totals(Totals& totals, LaneStats& stats) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      stats.total[half] = 0;
      for_each_quarter([&](int quarter) {
        float& total = totals[quarter][half];
        total += __shfl_xor_sync(0xffffffffU, total, 1);
        total += __shfl_xor_sync(0xffffffffU, total, 2);
        stats.total[half] += total;
      });
    }
  }

  /// Weights times the scales of values, divided by a power of two of each row's.
  static __device__ __forceinline__ void scale_weights(const float* value_scales, Scores& weights,
                                                       LaneStats& stats) {
    const auto* pairs = reinterpret_cast<const float2*>(value_scales) + threadIdx.x % 4;
    std::uint32_t largest[2] = {};
    for_each_quarter([&](int quarter) {
#pragma unroll
      for (int n = 0; n < kTiles; ++n) {
        const float2 pair = pairs[(quarter * kTiles + n) * 4];
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          float& first = score(weights, quarter, n, half, 0);
          float& second = score(weights, quarter, n, half, 1);
          // What is masked stays masked, whatever scale it has.
          if (first != 0.0F) first = __fmul_rn(first, pair.x);
          if (second != 0.0F) second = __fmul_rn(second, pair.y);
          largest[half] = larger(largest[half], first, second);
        }
      }
    });
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const F16Scale found(largest_of_lanes(largest[half], 4));
      stats.weight_scale[half] = found.scale;
      for_each_quarter([&](int quarter) {
#pragma unroll
        for (int n = 0; n < kTiles; ++n) {
#pragma unroll
          for (int c = 0; c < 2; ++c) {
            float& weight = score(weights, quarter, n, half, c);
            weight = __fmul_rn(weight, found.inverse);
          }
        }
      });
    }
  }

  static __device__ __forceinline__ void pack(const Scores& weights, Weights& out) {
    for_each_quarter([&](int quarter) {
#pragma unroll
      for (int run = 4 * quarter; run < 4 * quarter + 4; ++run) {
#pragma unroll
        for (int i = 0; i < 4; ++i)
          out[run][i] = Codec::pack(weights[run * 8 + 2 * i], weights[run * 8 + 2 * i + 1]);
      }
    });
  }
};

}  // namespace iol::cuda
