#pragma once
// Epilogue of the kernel for many tokens: a warp finishes the 128 rows of a token, a lane four of
// them, several tokens at a time so that what is added to comes from memory together.
#include "backend/cuda/kernels/linear_cluster.cuh"

namespace iol::cuda {

inline constexpr int kFinishRows = 128;
inline constexpr int kFinishWarps = 8;

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
/// Four numbers as load_from() reads one.
__device__ __forceinline__ float4 load_four_from(const float* local, int rank) {
  const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(local));
  std::uint32_t remote;
  float4 v;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(remote) : "r"(address), "r"(rank));
  asm volatile("ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [%4];"
               : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
               : "r"(remote)
               : "memory");
  return v;
}
#endif

/// True when rows of four can be written at once.
__device__ __forceinline__ bool has_fours(const EpilogueArgs& args) {
  return args.out_stride % 4 == 0 && args.out_columns % 4 == 0;
}

/// All but kSwiGlu: rows `row` to `row` + 3; `old` is what kAdd adds to.
__device__ __forceinline__ void finish_four(const EpilogueArgs& args, int token, int row,
                                            const float (&value)[4], const float4& old) {
  if (!has_fours(args)) {
#pragma unroll
    for (int i = 0; i < 4; ++i) finish(args, token, row + i, value[i]);
    return;
  }
  if (row >= args.out_columns) return;
  float4 v = {value[0], value[1], value[2], value[3]};
  if (args.bias != nullptr) {
    const float4 bias = *reinterpret_cast<const float4*>(args.bias + row);
    v = {v.x + bias.x, v.y + bias.y, v.z + bias.z, v.w + bias.w};
  }
  if (args.kind == Epilogue::kAdd) v = {old.x + v.x, old.y + v.y, old.z + v.z, old.w + v.w};
  *reinterpret_cast<float4*>(static_cast<float*>(args.out) +
                             static_cast<std::int64_t>(token) * args.out_stride + row) = v;
}

__device__ __forceinline__ float4 old_four(const EpilogueArgs& args, int token, int row) {
  if (args.kind != Epilogue::kAdd || !has_fours(args) || row >= args.out_columns) return {};
  return *reinterpret_cast<const float4*>(static_cast<const float*>(args.out) +
                                          static_cast<std::int64_t>(token) * args.out_stride + row);
}

/// kSwiGlu: rows `row` to `row` + 3 of the gate.
__device__ __forceinline__ void finish_four_gated(const EpilogueArgs& args, int token, int row,
                                                  const float (&gate)[4], const float (&up)[4]) {
  const int column = row / (2 * kTileRows) * kTileRows + row % kTileRows;
  if (args.bias != nullptr || args.out_element == Element::kF32 || !has_fours(args)) {
#pragma unroll
    for (int i = 0; i < 4; ++i) finish_gated(args, token, row + i, gate[i], up[i]);
    return;
  }
  if (column >= args.out_columns) return;
  auto* out =
      static_cast<std::uint16_t*>(args.out) + static_cast<std::int64_t>(token) * args.out_stride;
#pragma unroll
  for (int i = 0; i < 4; i += 2) {
    const float low = silu(gate[i]) * up[i];
    const float high = silu(gate[i + 1]) * up[i + 1];
    *reinterpret_cast<std::uint32_t*>(out + dealt_column(column + i, 2, args.out_run)) =
        args.out_element == Element::kBf16 ? to_bf16_pair(low, high) : to_f16_pair(low, high);
  }
}

/// The larger key of the warp's lanes, into best[token].
__device__ __forceinline__ void offer_best_of_warp(const EpilogueArgs& args, int token, int row,
                                                   const float (&value)[4], bool present) {
  unsigned long long key = 0;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const unsigned long long one =
        present && row + i < args.out_columns ? best_key(value[i], row + i) : 0ULL;
    key = one > key ? one : key;
  }
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
    const unsigned long long other = __shfl_xor_sync(0xffffffffU, key, offset);
    key = other > key ? other : key;
  }
  if (threadIdx.x % 32 == 0 && key != 0) atomicMax(args.best + token, key);
}

/// Finishes tokens [begin, end) of a block of kFinishRows rows; total(token, row, sum) gives the
/// finished sums over K of four rows.
template <class Format, class Total>
__device__ __forceinline__ void finish_tokens(const LinearArgs& args, int first_row,
                                              int first_token, int begin, int end, Total total) {
  constexpr int kAtOnce = 4;
  const EpilogueArgs& epilogue = args.epilogue;
  const bool is_gated = epilogue.kind == Epilogue::kSwiGlu;
  const int warp = threadIdx.x / 32;
  const int lane = threadIdx.x % 32;
  const int present = min(end, epilogue.num_tokens - first_token);
  // Gated, half a warp has a token: lanes of four gate rows, whose up rows are 16 further on.
  const int place = is_gated ? lane % 16 * 4 : lane * 4;
  const int row = is_gated ? place / kTileRows * 2 * kTileRows + place % kTileRows : place;
  const int tokens_per_warp = is_gated ? 2 : 1;
  const int stride = kFinishWarps * tokens_per_warp;
  const bool valid = first_row + row < args.matrix.rows;
  const auto values = [&](int token, int at, float(&value)[4]) {
    typename Format::Part sum[4];
    total(token, at, sum);
#pragma unroll
    for (int i = 0; i < 4; ++i)
      value[i] = Format::value(args, first_token + token, first_row + at + i, sum[i]);
  };
  for (int base = begin + warp * tokens_per_warp + (is_gated ? lane / 16 : 0); base < present;
       base += kAtOnce * stride) {
    float4 old[kAtOnce];
#pragma unroll
    for (int b = 0; b < kAtOnce; ++b) {
      const int token = base + b * stride;
      if (token < present && valid)
        old[b] = old_four(epilogue, first_token + token, first_row + row);
    }
#pragma unroll
    for (int b = 0; b < kAtOnce; ++b) {
      const int token = base + b * stride;
      if (token >= present) continue;
      float value[4] = {};
      if (valid) values(token, row, value);
      if (is_gated) {
        float up[4];
        if (valid) {
          values(token, row + kTileRows, up);
          finish_four_gated(epilogue, first_token + token, first_row + row, value, up);
        }
        continue;
      }
      if (valid) finish_four(epilogue, first_token + token, first_row + row, value, old[b]);
      if (epilogue.kind == Epilogue::kLogits)
        offer_best_of_warp(epilogue, first_token + token, first_row + row, value, valid);
    }
  }
}

}  // namespace iol::cuda
