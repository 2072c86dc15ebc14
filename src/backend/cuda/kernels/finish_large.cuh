#pragma once
// Epilogue of linear_large.cuh: a warpgroup finishes its 64 rows, some tokens at a time, through
// shared memory. While a chunk of tokens is finished the next goes there: one waits for memory, the
// other for arithmetic.
//
// Bits of f32 sums are these units' own, so SwiGLU takes approximate instructions, and kAdd is done
// by the L2 cache: nobody else adds to the same numbers. Exact sums (int8) have everybody's bits.
#include <type_traits>

#include "backend/cuda/kernels/finish_tokens.cuh"

namespace iol::cuda {

inline constexpr int kLargeChunk = 32;  // tokens that are finished at a time

/// silu(x) with an error of at most 2^-16 of itself or 10^-35.
__device__ __forceinline__ float silu_near(float x) {
  constexpr float kLog2E = 1.44269504F;
  float power, inverse;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x * -kLog2E));
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(inverse) : "f"(1.0F + power));
  return x * inverse;
}

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900

/// Adds four numbers where they are. Of subnormal ones it makes zero.
__device__ __forceinline__ void add_four(float* p, const float4& v) {
  asm volatile("red.global.add.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(p), "f"(v.x), "f"(v.y),
               "f"(v.z), "f"(v.w)
               : "memory");
}

/// A thread has four rows for kCount tokens of a chunk; gated, four gate rows and the up rows that
/// belong to them for half as many.
template <class Format>
struct LargeFinisher : Finisher<Format> {
  using Base = Finisher<Format>;
  using Part = typename Format::Part;
  using Base::args;
  using Base::first_token;
  using Base::rows;
  static constexpr bool kIsExact = std::is_same_v<Part, int>;
  static constexpr int kCount = kLargeChunk / Base::kTokenStride;
  static constexpr int kGatedCount = kCount / 2;
  static constexpr int kGatedStride = 2 * Base::kTokenStride;
  /// Scales of the thread's rows; gated, of its gate and up rows.
  struct Scales {
    float4 first;
    float4 second;
  };

  [[nodiscard]] __device__ __forceinline__ bool is_gated() const {
    return args.epilogue.kind == Epilogue::kSwiGlu;
  }
  /// Whether take() and write() can finish them; else finish_other() can.
  [[nodiscard]] __device__ __forceinline__ bool is_usual() const {
    return this->is_plain() || (is_gated() && has_fours(args.epilogue));
  }
  [[nodiscard]] __device__ __forceinline__ Scales scales() const {
    const int row = is_gated() ? gate_row() : this->own_row();
    if (!Format::kHasRowScales || row >= rows.count) return {};
    return {this->scales_of(row), is_gated() ? this->scales_of(row + kTileRows) : float4{}};
  }

  /// Reads the thread's finished sums, without a bias, of the chunk of tokens that begins at
  /// `begin` in the unit; sums as in finish_plain().
  template <class Source>
  __device__ __forceinline__ void take(int begin, const Source& sums, const Scales& scales,
                                       float4 (&v)[kCount]) const {
    if (is_gated()) {
#pragma unroll
      for (int i = 0; i < kGatedCount; ++i) {
        const int token = begin + gated_token() + i * kGatedStride;
        const float token_scale = token_scale_of(sums, token);
        v[i] = sum_of(sums, token, gate_row(), scales.first, token_scale);
        v[kGatedCount + i] =
            sum_of(sums, token, gate_row() + kTileRows, scales.second, token_scale);
      }
    } else {
#pragma unroll
      for (int i = 0; i < kCount; ++i) {
        const int token = begin + plain_token() + i * Base::kTokenStride;
        v[i] = sum_of(sums, token, this->own_row(), scales.first, token_scale_of(sums, token));
      }
    }
  }
  /// Writes what take() read; `old`: what exact sums are added to, by load_exact().
  __device__ __forceinline__ void write(int begin, float4 (&v)[kCount],
                                        const float4 (&old)[kCount]) const {
    is_gated() ? write_gated(begin, v) : write_plain(begin, v, old);
  }
  __device__ __forceinline__ void load_exact(int begin, float4 (&old)[kCount]) const {
    if constexpr (kIsExact) this->load_old(begin, begin + kLargeChunk, old);
  }

 private:
  // Of eight threads that read together four have the same token, so that they meet no bank twice.
  __device__ __forceinline__ static int gate_tile() { return Base::thread() / 8 % 2; }
  __device__ __forceinline__ static int gate_row() {
    return gate_tile() * 2 * kTileRows + Base::thread() % 4 * 4;
  }
  __device__ __forceinline__ static int gated_token() {
    const int rest = Base::thread() / 16;
    return rest / 4 * 8 + Base::thread() / 4 % 2 * 4 + rest % 4;
  }
  __device__ __forceinline__ static int plain_token() { return Base::thread() / Base::kQuads; }

  template <class Source>
  __device__ __forceinline__ static float4 sum_of(const Source& sums, int token, int row,
                                                  const float4& scales, float token_scale) {
    Part sum[4];
    sums.take(token, row, sum);
    return Base::values(sum, scales, token_scale);
  }
  template <class Source>
  __device__ __forceinline__ float token_scale_of(const Source& sums, int token) const {
    return has_token(first_token + token) ? sums.token_scale(token) : 0;
  }
  __device__ __forceinline__ bool has_token(int token) const {
    return token < args.epilogue.num_tokens;
  }

  __device__ __forceinline__ void write_plain(int begin, float4 (&v)[kCount],
                                              const float4 (&old)[kCount]) const {
    const int row = this->own_row();
    if (!this->has_row(row)) return;
    const int token = first_token + begin + plain_token();
    float* out = this->place(token, row);
    const std::int64_t step = std::int64_t{Base::kTokenStride} * args.epilogue.out_stride;
    const float4 bias = this->bias_of(row);
#pragma unroll
    for (int i = 0; i < kCount; ++i) this->add_bias(v[i], bias);
    if (args.epilogue.kind != Epilogue::kAdd) {
#pragma unroll
      for (int i = 0; i < kCount; ++i)
        if (has_token(token + i * Base::kTokenStride)) store_four(out + i * step, v[i]);
    } else if constexpr (kIsExact) {
#pragma unroll
      for (int i = 0; i < kCount; ++i)
        if (has_token(token + i * Base::kTokenStride))
          store_four(out + i * step,
                     {old[i].x + v[i].x, old[i].y + v[i].y, old[i].z + v[i].z, old[i].w + v[i].w});
    } else {
#pragma unroll
      for (int i = 0; i < kCount; ++i)
        if (has_token(token + i * Base::kTokenStride)) add_four(out + i * step, v[i]);
    }
  }

  __device__ __forceinline__ static float4 gated(const float4& gate, const float4& up) {
    if constexpr (kIsExact) {
      const float4 s = silu_four(gate);
      return {s.x * up.x, s.y * up.y, s.z * up.z, s.w * up.w};
    } else {
      return {silu_near(gate.x) * up.x, silu_near(gate.y) * up.y, silu_near(gate.z) * up.z,
              silu_near(gate.w) * up.w};
    }
  }
  __device__ __forceinline__ std::uint32_t half_pair(float low, float high) const {
    return args.epilogue.out_element == Element::kBf16 ? to_bf16_pair(low, high)
                                                       : to_f16_pair(low, high);
  }
  __device__ __forceinline__ void write_gated(int begin, float4 (&v)[kCount]) const {
    const EpilogueArgs& epilogue = args.epilogue;
    const int row = gate_row();
    const int column = rows.first / 2 + gate_tile() * kTileRows + Base::thread() % 4 * 4;
    const int token = first_token + begin + gated_token();
    const bool is_present = row < rows.count && column < epilogue.out_columns;
    const auto writes = [&](int i) { return is_present && has_token(token + i * kGatedStride); };
    if (epilogue.bias != nullptr && is_present) {
      const float4 gate_bias = this->bias_of(row);
      const float4 up_bias = this->bias_of(row + kTileRows);
#pragma unroll
      for (int i = 0; i < kGatedCount; ++i)
        this->add_bias(v[i], gate_bias), this->add_bias(v[kGatedCount + i], up_bias);
    }
#pragma unroll
    for (int i = 0; i < kGatedCount; ++i) v[i] = gated(v[i], v[kGatedCount + i]);
    const std::int64_t base = static_cast<std::int64_t>(token) * epilogue.out_stride;
    const std::int64_t step = std::int64_t{kGatedStride} * epilogue.out_stride;
    if (epilogue.out_element == Element::kF32) {  // never dealt
      float* out = static_cast<float*>(epilogue.out) + base + column;
#pragma unroll
      for (int i = 0; i < kGatedCount; ++i)
        if (writes(i)) store_four(out + i * step, v[i]);
      return;
    }
    auto* out = static_cast<std::uint16_t*>(epilogue.out) + base;
    const bool is_dealt = epilogue.out_run == 4 && epilogue.out_columns % kTileRows == 0;
    if (is_dealt || epilogue.out_run == 0) {
      // Pairs that are neighbours in a dealt row are eight columns apart: two threads exchange.
      const bool is_upper = Base::thread() % 4 >= 2;
      out += is_dealt ? dealt_column(is_upper ? column - 6 : column, 2, 4) : column;
#pragma unroll
      for (int i = 0; i < kGatedCount; ++i) {
        std::uint32_t low = half_pair(v[i].x, v[i].y);
        std::uint32_t high = half_pair(v[i].z, v[i].w);
        if (is_dealt) {
          const std::uint32_t other = __shfl_xor_sync(0xffffffffU, is_upper ? low : high, 2);
          low = is_upper ? other : low;
          high = is_upper ? high : other;
        }
        if (writes(i)) *reinterpret_cast<uint2*>(out + i * step) = {low, high};
      }
      return;
    }
    auto* low_place = out + dealt_column(column, 2, epilogue.out_run);
    auto* high_place = out + dealt_column(column + 2, 2, epilogue.out_run);
#pragma unroll
    for (int i = 0; i < kGatedCount; ++i) {
      if (!writes(i)) continue;
      *reinterpret_cast<std::uint32_t*>(low_place + i * step) = half_pair(v[i].x, v[i].y);
      *reinterpret_cast<std::uint32_t*>(high_place + i * step) = half_pair(v[i].z, v[i].w);
    }
  }
};

/// What a group reads of device memory to finish a unit, before its sums are there: scales of a
/// thread's rows and of the tokens that it brings to shared memory, those with its number in the
/// group and kFinishThreads further on.
template <class Format, int kTokens>
struct LargeScales {
  static constexpr int kCount = kTokens / kFinishThreads;
  typename LargeFinisher<Format>::Scales rows;
  float tokens[kCount];
  __device__ __forceinline__ static LargeScales read(const LargeFinisher<Format>& finisher) {
    LargeScales scales;
    scales.rows = finisher.scales();
#pragma unroll
    for (int i = 0; i < kCount; ++i)
      scales.tokens[i] =
          own_token_scale<Format>(finisher.args, finisher.first_token + i * kFinishThreads);
    return scales;
  }
  /// Of the thread's token number i. Left to itself the compiler makes a table of them in memory,
  /// which waits for them before the sums over K begin.
  __device__ __forceinline__ float token(int i) const {
    if constexpr (kCount == 1) return tokens[0];
    static_assert(kCount <= 2);
    float scale;
    asm("{\n.reg .pred p;\nsetp.ne.s32 p, %3, 0;\nselp.f32 %0, %2, %1, p;\n}"
        : "=f"(scale)
        : "f"(tokens[0]), "f"(tokens[kCount - 1]), "r"(i));
    return scale;
  }
};

/// Finishes a group's sums over K, kTokens tokens of its rows, through `memory`, in which two
/// chunks have room.
template <class Format, int kTokens>
__device__ __forceinline__ void finish_large(const LargeFinisher<Format>& finisher,
                                             const typename Format::Part (&total)[kTokens / 2],
                                             const LargeScales<Format, kTokens>& scales,
                                             float* memory) {
  constexpr int kChunks = kTokens / kLargeChunk;
  constexpr int kWarps = kFinishThreads / 32;
  static_assert(kLargeChunk == 32);  // a warp brings the scales of its tokens
  const int barrier = 1 + static_cast<int>(threadIdx.x) / kFinishThreads;
  const auto sums_of = [&](int chunk) {
    return ChunkSums<Format, kLargeChunk>{memory + chunk % 2 * (kLargeChunk * kSumStride)};
  };
  const auto put = [&](int chunk) {
    const auto sums = sums_of(chunk);
    store_chunk<kLargeChunk / 2>(total, chunk, sums.sums);
    if (Format::kHasTokenScales && threadIdx.x / 32 % kWarps == chunk % kWarps)
      sums.put_token_scale(threadIdx.x % 32, scales.token(chunk / kWarps));
  };
  const bool is_usual = finisher.is_usual();
  static_assert(kChunks % 2 == 0);  // so that chunk 0 lies where the unit before has been read
  float4 old[LargeFinisher<Format>::kCount] = {};
  finisher.load_exact(0, old);
  put(0);
#pragma unroll 1
  for (int chunk = 0; chunk < kChunks; ++chunk) {
    named_barrier(barrier, kFinishThreads);
    const int begin = chunk * kLargeChunk;
    float4 v[LargeFinisher<Format>::kCount];
    if (is_usual) {
      finisher.take(begin, sums_of(chunk), scales.rows, v);
    } else {
      LargeFinisher<Format> other = finisher;
      // What this makes of it is made each time, so that no register keeps it for a rare case.
      asm volatile("" : "+r"(other.first_token), "+r"(other.rows.first));
      other.finish_other(begin, begin + kLargeChunk, sums_of(chunk));
    }
    if (chunk + 1 < kChunks) put(chunk + 1);
    if (is_usual) finisher.write(begin, v, old);
    if (chunk + 1 < kChunks) finisher.load_exact(begin + kLargeChunk, old);
  }
}

#endif

}  // namespace iol::cuda
