#pragma once
// Values added up under their weights, chunks merged, and results stored, for attention_decode.cu.
#include "backend/cuda/kernels/cluster.cuh"
#include "backend/cuda/kernels/decode_softmax.cuh"
#include "backend/cuda/kernels/reduce.cuh"

namespace iol::cuda {

/// Units of D that a warp adds up: warp, warp + 4, ...
template <int kDim>
inline constexpr int kUnitsOfWarp = kDim / 16 / kAttentionWarps;

/// Weighted values of a lane: of each of the warp's units elements 2 q, 2 q + 1 and 8 + 2 q, 8 + 2
/// q
/// + 1, of rows g and g + 8.
template <int kDim>
struct DecodeSums {
  float v[kUnitsOfWarp<kDim>][2][4] = {};
};

/// What was gathered of some chunks.
template <int kDim, int kHalves>
struct DecodeResult {
  DecodeSums<kDim> sums;
  DecodeStats<kHalves> stats;
  __device__ __forceinline__ DecodeResult() {
#pragma unroll
    for (int half = 0; half < kHalves; ++half) {
      stats.most[half] = -CUDART_INF_F;
      stats.total[half] = 0;
    }
  }
};

/// sums += weights x values over the chunk, in ascending order. `last`: position of the tile,
/// counted from the chunk's first.
template <class Codec, int kDim, int kHalves>
__device__ __forceinline__ void add_values(DecodeShared<Codec, kDim>& shared,
                                           const std::byte* values, int last, int parity,
                                           DecodeSums<kDim>& sums) {
  constexpr int kUnits = kUnitsOfWarp<kDim>;
  using Stored = typename Codec::Stored;
  constexpr int kRunBytes = kDim / 16 * 32 * static_cast<int>(sizeof(Stored));
#pragma unroll 1
  for (int w = 0; w < kAttentionWarps && w * kWarpPositions <= last; ++w) {
    wait_for_copies(shared.values_here + w, parity);
    // All loads before the first product: the products wait for each other.
    uint4 weight[kRunsOfWarp];
    Stored stored[kRunsOfWarp][kUnits];
#pragma unroll
    for (int i = 0; i < kRunsOfWarp; ++i) {
      weight[i] = load_operand<kHalves>(shared.weights, kRunsOfWarp * w + i);
#pragma unroll
      for (int u = 0; u < kUnits; ++u)
        stored[i][u] = load_value<Codec>(values + (kRunsOfWarp * w + i) * kRunBytes,
                                         static_cast<int>(threadIdx.x) / 32 + u * kAttentionWarps);
    }
    uint4 value[kRunsOfWarp][kUnits];
    if constexpr (!Codec::kCoded) {
#pragma unroll
      for (int i = 0; i < kRunsOfWarp; ++i) {
#pragma unroll
        for (int u = 0; u < kUnits; ++u) value[i][u] = Codec::operand(stored[i][u]);
      }
      if (last < (w + 1) * kWarpPositions - 1) {
#pragma unroll
        for (int i = 0; i < kRunsOfWarp; ++i) {
#pragma unroll
          for (int u = 0; u < kUnits; ++u)
            clear_behind(value[i][u], last - 16 * (kRunsOfWarp * w + i));
        }
      }
    }
#pragma unroll
    for (int i = 0; i < kRunsOfWarp; ++i) {
      // Runs that nobody has asked for may hold anything.
      if (Codec::kCoded && i > 0 && 16 * (kRunsOfWarp * w + i) > last) break;
#pragma unroll
      for (int u = 0; u < kUnits; ++u) {
        if constexpr (Codec::kCoded) value[i][u] = Codec::operand(stored[i][u]);
        Codec::mma(sums.v[u][0], weight[i], value[i][u].x, value[i][u].y);
        Codec::mma(sums.v[u][1], weight[i], value[i][u].z, value[i][u].w);
      }
    }
  }
}

/// What was gathered before a chunk, and the chunk.
template <class Codec, int kDim, int kHalves>
__device__ __forceinline__ void merge_chunk(const DecodeSums<kDim>& part,
                                            const DecodeStats<kHalves>& part_stats,
                                            DecodeSums<kDim>& sums, DecodeStats<kHalves>& stats) {
#pragma unroll
  for (int half = 0; half < kHalves; ++half) {
    Merge factors = merge_factors(stats.most[half], stats.total[half], part_stats.most[half],
                                  part_stats.total[half]);
    if constexpr (Codec::kCoded)
      factors.new_factor = __fmul_rn(factors.new_factor, part_stats.weight_scale[half]);
#pragma unroll
    for (int u = 0; u < kUnitsOfWarp<kDim>; ++u) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int at = half * 2 + i % 2;
        sums.v[u][i / 2][at] = merged(factors, sums.v[u][i / 2][at], part.v[u][i / 2][at]);
      }
    }
  }
}

/// Where a row's head begins in `out`, but for dealing.
struct DecodeRow {
  int token;
  std::int64_t base;  // of the token's row
  int first_column;   // of the head
};
__device__ __forceinline__ DecodeRow decode_row(const DecodeArgs& args, const DecodeRows& tile,
                                                int row, int head_dim) {
  const int in_tile = row * args.group_inverse >> 16;
  const int token = tile.slice.first_token + tile.first_query + in_tile;
  const int head = kv_head_of_block() * args.group + row - in_tile * args.group;
  return {token, static_cast<std::int64_t>(token) * args.out_stride, head * head_dim};
}
/// Elements d and d + 1, d even: no form of a row parts them; not stored in a rehearsal. Returns
/// the larger magnitude.
__device__ __forceinline__ float store_pair(const DecodeArgs& args, const DecodeRow& row, int d,
                                            float first, float second, bool is_rehearsal = false) {
  const int column = dealt_column(row.first_column + d, 2, args.out_run);
  auto* to = reinterpret_cast<std::uint32_t*>(args.out + row.base + column);
  const std::uint32_t pair =
      args.is_bf16 ? to_bf16_pair(first, second) : to_f16_pair(first, second);
  if (!is_rehearsal) *to = pair;
  if (args.is_bf16) return fmaxf(fabsf(bf16_low(pair)), fabsf(bf16_high(pair)));
  return fmaxf(fabsf(f16_value(static_cast<std::uint16_t>(pair))),
               fabsf(f16_value(static_cast<std::uint16_t>(pair >> 16))));
}
/// The largest magnitude that kLanes neighbouring lanes have stored of a row.
template <int kLanes>
__device__ __forceinline__ void offer_largest(const DecodeArgs& args, const DecodeRow& row,
                                              float largest) {
  if (args.next_largest == nullptr) return;
  const int lane = threadIdx.x % 32;
  const std::uint32_t lanes = (0xffffffffU >> (32 - kLanes)) << (lane / kLanes * kLanes);
#pragma unroll
  for (int offset = 1; offset < kLanes; offset *= 2)
    largest = fmaxf(largest, __shfl_xor_sync(lanes, largest, offset));
  if (lane % kLanes == 0) atomicMax(args.next_largest + row.token, __float_as_uint(largest));
}

template <int kDim, int kHalves>
__device__ __forceinline__ void store_result(const DecodeArgs& args, const DecodeTile& tile,
                                             const DecodeSums<kDim>& sums,
                                             const DecodeStats<kHalves>& stats, bool is_rehearsal) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int half = 0; half < kHalves; ++half) {
    const int row = half * 8 + lane / 4;
    if (row >= tile.num_rows) continue;
    const DecodeRow to = decode_row(args, tile, row, kDim);
    const Quotient by_total(stats.total[half]);
    float largest = 0;
#pragma unroll
    for (int u = 0; u < kUnitsOfWarp<kDim>; ++u) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int d =
            (static_cast<int>(threadIdx.x) / 32 + u * kAttentionWarps) * 16 + i * 8 + lane % 4 * 2;
        largest = fmaxf(largest, store_pair(args, to, d, by_total(sums.v[u][i][half * 2]),
                                            by_total(sums.v[u][i][half * 2 + 1]), is_rehearsal));
      }
    }
    offer_largest<4>(args, to, is_rehearsal ? 0.0F : largest);
  }
}

// --- chunks that several blocks of threads share

/// Where a block leaves what it gathered of a chunk: in device memory or, in a cluster, in its
/// shared memory.
template <int kDim>
struct Partial {
  float2* stats;  // [rows] largest score, sum of weights
  float* sums;    // [rows][kDim]
  /// Entry `entry` of partial results.
  static __device__ __forceinline__ Partial in_device(const DecodeArgs& args, int entry) {
    const std::int64_t row = static_cast<std::int64_t>(entry) * kDecodeTileRows;
    return {reinterpret_cast<float2*>(args.partial_stats) + row, args.partial_sums + row * kDim};
  }
  /// `keys`: whose use is over.
  static __device__ __forceinline__ Partial in_shared(std::byte* keys) {
    auto* stats = reinterpret_cast<float2*>(keys);
    return {stats, reinterpret_cast<float*>(stats + kDecodeTileRows)};
  }
};

__device__ __forceinline__ int partial_entry(const DecodeArgs& args, int zeroth_partial,
                                             int chunk) {
  return (zeroth_partial + chunk) * args.num_kv_heads + kv_head_of_block();
}

template <int kDim, int kHalves>
__device__ __forceinline__ void store_partial(const DecodeTile& tile, const Partial<kDim>& to,
                                              const DecodeSums<kDim>& sums,
                                              const DecodeStats<kHalves>& stats) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int half = 0; half < kHalves; ++half) {
    const int row = half * 8 + lane / 4;
    if (row >= tile.num_rows) continue;
    if (threadIdx.x % 4 == 0 && threadIdx.x < 32)
      to.stats[row] = make_float2(stats.most[half], stats.total[half]);
#pragma unroll
    for (int u = 0; u < kUnitsOfWarp<kDim>; ++u) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int d =
            (static_cast<int>(threadIdx.x) / 32 + u * kAttentionWarps) * 16 + i * 8 + lane % 4 * 2;
        *reinterpret_cast<float2*>(to.sums + row * kDim + d) =
            make_float2(sums.v[u][i][half * 2], sums.v[u][i][half * 2 + 1]);
      }
    }
  }
}

/// Merges chunks in ascending order, four elements of a row to a thread, and stores the result.
/// stats_of(chunk, row) and sums_of(chunk, row, d) are what was gathered of a chunk.
template <int kDim, class StatsOf, class SumsOf>
__device__ __forceinline__ void merge_chunks(const DecodeArgs& args, const DecodeRows& tile,
                                             const DecodeRange& all, StatsOf stats_of,
                                             SumsOf sums_of) {
  constexpr int kThreads = kDim / 4;
#pragma unroll 1
  for (int row = static_cast<int>(threadIdx.x) / kThreads; row < tile.num_rows;
       row += kAttentionThreads / kThreads) {
    const int d = static_cast<int>(threadIdx.x) % kThreads * 4;
    float most = -CUDART_INF_F;
    float total = 0;
    float4 sum = {};
#pragma unroll 8
    for (int chunk = all.first; chunk <= all.last; ++chunk) {
      const float2 stats = stats_of(chunk, row);
      const float4 part = sums_of(chunk, row, d);
      const Merge factors = merge_factors(most, total, stats.x, stats.y);
      sum = {merged(factors, sum.x, part.x), merged(factors, sum.y, part.y),
             merged(factors, sum.z, part.z), merged(factors, sum.w, part.w)};
    }
    const Quotient by_total(total);
    const DecodeRow to = decode_row(args, tile, row, kDim);
    const float first = store_pair(args, to, d, by_total(sum.x), by_total(sum.y));
    const float second = store_pair(args, to, d + 2, by_total(sum.z), by_total(sum.w));
    offer_largest<kThreads>(args, to, fmaxf(fmaxf(first, second), 0.0F));
  }
}

/// True in the block of the tile that gets here last, which sees what the others have stored.
__device__ __forceinline__ bool is_last_share(const DecodeArgs& args, int num_shares,
                                              bool& is_last) {
  __syncthreads();
  if (threadIdx.x == 0) {
    int* arrivals = args.arrivals + slice_of_block() * args.num_kv_heads + kv_head_of_block();
    __threadfence();
    is_last = atomicAdd(arrivals, 1) == num_shares - 1;
    __threadfence();
    if (is_last) *arrivals = 0;
  }
  __syncthreads();
  return is_last;
}

/// By whoever comes last.
template <int kDim>
__device__ __forceinline__ void merge_when_last(const DecodeArgs& args, bool& is_last) {
  // Read again, so that no register holds it meanwhile.
  const DecodeRows tile(args);
  const DecodeRange all(args, tile);
  if (!is_last_share(args, all.shares, is_last)) return;
  const auto of_chunk = [&](int chunk) {
    return Partial<kDim>::in_device(args, partial_entry(args, all.zeroth_partial(), chunk));
  };
  merge_chunks<kDim>(
      args, tile, all, [&](int chunk, int row) { return __ldcg(of_chunk(chunk).stats + row); },
      [&](int chunk, int row, int d) {
        return __ldcg(reinterpret_cast<const float4*>(of_chunk(chunk).sums + row * kDim + d));
      });
}

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
/// By the first of a cluster, which reads what all of it have in shared memory.
template <int kDim>
__device__ __forceinline__ void merge_cluster(const DecodeArgs& args, std::byte* keys) {
  cluster_barrier();
  if (share_of_block() == 0) {
    const DecodeRows tile(args);
    const DecodeRange all(args, tile);
    const auto local = Partial<kDim>::in_shared(keys);
    merge_chunks<kDim>(
        args, tile, all,
        [&](int chunk, int row) { return load_two_from(local.stats + row, chunk - all.first); },
        [&](int chunk, int row, int d) {
          return load_four_from(local.sums + row * kDim + d, chunk - all.first);
        });
  }
  cluster_barrier();  // until then everybody's shared memory is read
}
#endif

}  // namespace iol::cuda
