#pragma once
// Epilogue of linear_wgmma.cuh: a warpgroup finishes its 64 rows, some tokens at a time, through
// shared memory. A thread has four rows, the same for all its tokens. A block runs through this
// code once or a few times and fetches it from far away, so the ways through it are short.
#include "backend/cuda/kernels/token_sums.cuh"

namespace iol::cuda {

/// Of `threads` threads that use barrier `which`.
__device__ __forceinline__ void named_barrier(int which, int threads) {
  asm volatile("barrier.sync %0, %1;" ::"r"(which), "r"(threads) : "memory");
}

/// The rows of the matrix that a group of threads finishes.
struct GroupRows {
  int first;
  int count;
};
/// Of group `group` of a unit of `tiles` tiles of 16 rows from `first_tile` on.
__device__ __forceinline__ GroupRows group_rows(const LinearArgs& args, int first_tile, int tiles,
                                                int group) {
  const int first = first_tile * kTileRows + group * kFinishRows;
  const int end = min((first_tile + tiles) * kTileRows, args.matrix.rows);
  return {first, min(kFinishRows, end - first)};
}

/// True when rows of four can be written at once.
__device__ __forceinline__ bool has_fours(const EpilogueArgs& args) {
  return args.out_stride % 4 == 0 && args.out_columns % 4 == 0;
}

/// One instruction, which the compiler would make four of.
__device__ __forceinline__ void store_four(float* p, const float4& v) {
  asm volatile("st.global.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(p), "f"(v.x), "f"(v.y), "f"(v.z),
               "f"(v.w)
               : "memory");
}

/// The quotient, rounded to nearest, of numbers whose rests are normal numbers.
__device__ __forceinline__ float divide_usual(float a, float b) {
  float inverse;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(inverse) : "f"(b));
  inverse = __fmaf_rn(inverse, __fmaf_rn(-b, inverse, 1.0F), inverse);
  float quotient = __fmul_rn(a, inverse);
  quotient = __fmaf_rn(inverse, __fmaf_rn(-b, quotient, a), quotient);
  return __fmaf_rn(inverse, __fmaf_rn(-b, quotient, a), quotient);
}
/// silu() of four numbers, with one look at whether a division takes special care.
__device__ __forceinline__ float4 silu_four(const float4& x) {
  const float4 d = {1.0F + expf(-x.x), 1.0F + expf(-x.y), 1.0F + expf(-x.z), 1.0F + expf(-x.w)};
  const float smallest = fminf(fminf(fabsf(x.x), fabsf(x.y)), fminf(fabsf(x.z), fabsf(x.w)));
  const float largest = fmaxf(fmaxf(fabsf(x.x), fabsf(x.y)), fmaxf(fabsf(x.z), fabsf(x.w)));
  // Below 40, d is less than 2^58.
  if (smallest > 0x1p-60F && largest < 40.0F)
    return {divide_usual(x.x, d.x), divide_usual(x.y, d.y), divide_usual(x.z, d.z),
            divide_usual(x.w, d.w)};
  return {__fdiv_rn(x.x, d.x), __fdiv_rn(x.y, d.y), __fdiv_rn(x.z, d.z), __fdiv_rn(x.w, d.w)};
}

/// What finishing a group's sums needs: a thread's rows and tokens, and what its rows share.
template <class Format>
struct Finisher {
  using Part = typename Format::Part;
  static constexpr int kQuads = kFinishRows / 4;
  static constexpr int kTokenStride = kFinishThreads / kQuads;  // between a thread's tokens
  const LinearArgs& args;
  GroupRows rows;
  int first_token;

  __device__ __forceinline__ static int thread() { return threadIdx.x % kFinishThreads; }
  /// The first of the thread's four rows; gated, of four gate rows: the up rows are 16 behind them.
  __device__ __forceinline__ static int own_row() { return thread() % kQuads * 4; }
  __device__ __forceinline__ static int own_gate_row() {
    const int place = thread() % (kQuads / 2) * 4;
    return place / kTileRows * 2 * kTileRows + place % kTileRows;
  }

  __device__ __forceinline__ float4 scales_of(int row) const {
    if constexpr (Format::kHasRowScales) return load_four(args.matrix.scales + rows.first + row);
    return {};
  }
  /// Asks for what comes from memory and is the same for all tokens, well before it is used.
  __device__ __forceinline__ void prefetch() const {
    if (own_row() >= rows.count) return;
    if constexpr (Format::kHasRowScales) prefetch_own(args.matrix.scales);
    if (args.epilogue.next.values != nullptr) prefetch_own(args.epilogue.next_norm);
  }
  __device__ __forceinline__ void prefetch_own(const float* numbers) const {
    asm volatile("prefetch.global.L2 [%0];" ::"l"(numbers + rows.first + own_row()));
  }
  __device__ __forceinline__ float4 bias_of(int row) const {
    if (args.epilogue.bias == nullptr) return {};
    return load_four(args.epilogue.bias + rows.first + row);
  }
  /// The finished sums of four rows.
  __device__ __forceinline__ static float4 values(const Part (&sum)[4], const float4& scales,
                                                  float token_scale) {
    return {Format::scaled(sum[0], token_scale, scales.x),
            Format::scaled(sum[1], token_scale, scales.y),
            Format::scaled(sum[2], token_scale, scales.z),
            Format::scaled(sum[3], token_scale, scales.w)};
  }
  __device__ __forceinline__ void add_bias(float4& v, const float4& bias) const {
    if (args.epilogue.bias == nullptr) return;
    v = {v.x + bias.x, v.y + bias.y, v.z + bias.z, v.w + bias.w};
  }
  __device__ __forceinline__ static float4 added(const float4& old, const float4& v) {
    return {old.x + v.x, old.y + v.y, old.z + v.z, old.w + v.w};
  }
  __device__ __forceinline__ float* place(int token, int row) const {
    return static_cast<float*>(args.epilogue.out) +
           static_cast<std::int64_t>(token) * args.epilogue.out_stride + rows.first + row;
  }
  __device__ __forceinline__ bool has_row(int row) const {
    return row < rows.count && rows.first + row < args.epilogue.out_columns;
  }

  /// Whether finish_plain() can finish them.
  __device__ __forceinline__ bool is_plain() const {
    const Epilogue kind = args.epilogue.kind;
    return has_fours(args.epilogue) && (kind == Epilogue::kStore || kind == Epilogue::kAdd);
  }
  /// What kAdd adds to, for kCount tokens of the thread's in [begin, end).
  template <int kCount>
  __device__ __forceinline__ void load_old(int begin, int end, float4 (&old)[kCount]) const {
    if (args.epilogue.kind != Epilogue::kAdd || !is_plain() || !has_row(own_row())) return;
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const int in_unit = begin + thread() / kQuads + i * kTokenStride;
      const int token = first_token + in_unit;
      if (in_unit < end && token < args.epilogue.num_tokens)
        old[i] = load_four(place(token, own_row()));
    }
  }
  /// kStore and kAdd of rows of four.
  template <int kCount, class Source>
  __device__ __forceinline__ void finish_plain(int begin, int end, const float4 (&old)[kCount],
                                               const Source& sums) const {
    const EpilogueArgs& epilogue = args.epilogue;
    if constexpr (Format::kOperand == OperandNumber::kBf16) {
      if (epilogue.next.values != nullptr) return finish_normed(begin, end, old, sums);
    }
    const int row = own_row();
    if (!has_row(row)) return;
    const float4 scales = scales_of(row);
    const float4 bias = bias_of(row);
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const int in_unit = begin + thread() / kQuads + i * kTokenStride;
      const int token = first_token + in_unit;
      if (in_unit >= end || token >= epilogue.num_tokens) return;
      Part sum[4];
      sums.take(in_unit, row, sum);
      float4 v = values(sum, scales, sums.token_scale(in_unit));
      add_bias(v, bias);
      if (epilogue.kind == Epilogue::kAdd) v = added(old[i], v);
      store_four(place(token, row), v);
    }
  }
  /// What finish_plain() can't.
  template <class Source>
  __device__ __forceinline__ void finish_other(int begin, int end, const Source& sums) const {
    if (args.epilogue.kind == Epilogue::kSwiGlu) {
      finish_gated_rows(begin, end, sums);
    } else {
      finish_any(begin, end, sums);
    }
  }

 private:
  template <class Source>
  __device__ __forceinline__ void finish_gated_rows(int begin, int end, const Source& sums) const {
    constexpr int kStride = 2 * kTokenStride;
    const EpilogueArgs& epilogue = args.epilogue;
    const int row = own_gate_row();
    if (row >= rows.count) return;
    const int gate_row = rows.first + row;
    const int column = gate_row / (2 * kTileRows) * kTileRows + gate_row % kTileRows;
    const float4 gate_scales = scales_of(row);
    const float4 up_scales = scales_of(row + kTileRows);
    const int first = begin + thread() / (kQuads / 2);
    if (!has_fours(epilogue)) {
#pragma unroll 1
      for (int in_unit = first; in_unit < end; in_unit += kStride) {
        const int token = first_token + in_unit;
        if (token >= epilogue.num_tokens) return;
        const float token_scale = sums.token_scale(in_unit);
        Part gate[4], up[4];
        sums.take(in_unit, row, gate);
        sums.take(in_unit, row + kTileRows, up);
        const float4 g = values(gate, gate_scales, token_scale);
        const float4 u = values(up, up_scales, token_scale);
        finish_gated(epilogue, token, gate_row, g.x, u.x);
        finish_gated(epilogue, token, gate_row + 1, g.y, u.y);
        finish_gated(epilogue, token, gate_row + 2, g.z, u.z);
        finish_gated(epilogue, token, gate_row + 3, g.w, u.w);
      }
      return;
    }
    if (column >= epilogue.out_columns) return;
    const float4 gate_bias = bias_of(row);
    const float4 up_bias = bias_of(row + kTileRows);
    const bool is_f32 = epilogue.out_element == Element::kF32;
    auto* out = static_cast<std::uint16_t*>(epilogue.out);
    auto* low_place = out + dealt_column(column, 2, epilogue.out_run);
    auto* high_place = out + dealt_column(column + 2, 2, epilogue.out_run);
    auto* f32_place = static_cast<float*>(epilogue.out) + column;
#pragma unroll 2
    for (int in_unit = first; in_unit < end; in_unit += kStride) {
      const int token = first_token + in_unit;
      if (token >= epilogue.num_tokens) return;
      const float token_scale = sums.token_scale(in_unit);
      Part sum[4];
      sums.take(in_unit, row, sum);
      float4 gate = values(sum, gate_scales, token_scale);
      sums.take(in_unit, row + kTileRows, sum);
      float4 up = values(sum, up_scales, token_scale);
      add_bias(gate, gate_bias);
      add_bias(up, up_bias);
      gate = silu_four(gate);
      const std::int64_t at = static_cast<std::int64_t>(token) * epilogue.out_stride;
      const float4 v = {gate.x * up.x, gate.y * up.y, gate.z * up.z, gate.w * up.w};
      if (is_f32) {  // never dealt
        store_four(f32_place + at, v);
      } else {
        store_pair(low_place + at, v.x, v.y);
        store_pair(high_place + at, v.z, v.w);
      }
    }
  }
  /// kAdd that leaves NormedRows.
  template <int kCount, class Source>
  __device__ __forceinline__ void finish_normed(int begin, int end, const float4 (&old)[kCount],
                                                const Source& sums) const {
    const EpilogueArgs& epilogue = args.epilogue;
    const NormedRows& next = epilogue.next;
    const int row = own_row();
    const int column = rows.first + row;
    const bool is_present = has_row(row);
    const float4 scales = is_present ? scales_of(row) : float4{};
    const float4 bias = is_present ? bias_of(row) : float4{};
    const float4 norm = is_present ? load_four(epilogue.next_norm + column) : float4{};
    std::uint16_t* low_place = next.values + dealt_column(column, 2, next.run);
    std::uint16_t* high_place = next.values + dealt_column(column + 2, 2, next.run);
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const int in_unit = begin + thread() / kQuads + i * kTokenStride;
      const int token = first_token + in_unit;
      if (in_unit >= end || token >= epilogue.num_tokens) return;
      float4 v = {};
      if (is_present) {
        Part sum[4];
        sums.take(in_unit, row, sum);
        v = values(sum, scales, sums.token_scale(in_unit));
        add_bias(v, bias);
        v = added(old[i], v);
        store_four(place(token, row), v);
        const float4 normed = product(v, norm);
        const std::int64_t at = static_cast<std::int64_t>(token) * epilogue.out_columns;
        *reinterpret_cast<std::uint32_t*>(low_place + at) = to_bf16_pair(normed.x, normed.y);
        *reinterpret_cast<std::uint32_t*>(high_place + at) = to_bf16_pair(normed.z, normed.w);
      }
      // The sixteen threads that have the token's rows of the group are here.
      SquareSum squares = whole_squares(four_squares(v));
#pragma unroll
      for (int offset = 1; offset < kQuads; offset *= 2)
        squares += __shfl_xor_sync(0xffffU << (thread() & kQuads), squares, offset);
      if (thread() % kQuads == 0) atomicAdd(next.squares + token, squares);
    }
  }
  __device__ __forceinline__ void store_pair(std::uint16_t* place, float low, float high) const {
    *reinterpret_cast<std::uint32_t*>(place) = args.epilogue.out_element == Element::kBf16
                                                   ? to_bf16_pair(low, high)
                                                   : to_f16_pair(low, high);
  }
  /// All but gated: also rows that can't be written by four, and the largest of them.
  template <class Source>
  __device__ __forceinline__ void finish_any(int begin, int end, const Source& sums) const {
    const EpilogueArgs& epilogue = args.epilogue;
    const int row = own_row();
    const bool has_rows = row < rows.count;
    const float4 scales = has_rows ? scales_of(row) : float4{};
    // All lanes of a warp go together: its halves have a token each.
#pragma unroll 1
    for (int base = begin; base < end; base += kTokenStride) {
      const int in_unit = base + thread() / kQuads;
      const int token = first_token + in_unit;
      const bool is_present = has_rows && in_unit < end && token < epilogue.num_tokens;
      float4 v = {};
      if (is_present) {
        Part sum[4];
        sums.take(in_unit, row, sum);
        v = values(sum, scales, sums.token_scale(in_unit));
        if (has_fours(epilogue) && epilogue.kind != Epilogue::kAdd) {
          add_bias(v, bias_of(row));
          if (has_row(row)) store_four(place(token, row), v);
        } else {
          const float value[4] = {v.x, v.y, v.z, v.w};
          for (int i = 0; i < 4; ++i) finish(epilogue, token, rows.first + row + i, value[i]);
        }
      }
      if (epilogue.kind == Epilogue::kLogits) offer_best_of_half(token, row, v, is_present);
    }
  }

  /// The largest key of sixteen lanes, into best[token].
  __device__ __forceinline__ void offer_best_of_half(int token, int row, const float4& v,
                                                     bool is_present) const {
    const EpilogueArgs& epilogue = args.epilogue;
    const float value[4] = {v.x, v.y, v.z, v.w};
    unsigned long long key = 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int column = rows.first + row + i;
      const unsigned long long one =
          is_present && column < epilogue.out_columns ? best_key(value[i], column) : 0ULL;
      key = one > key ? one : key;
    }
#pragma unroll
    for (int offset = 8; offset > 0; offset /= 2) {
      const unsigned long long other = __shfl_xor_sync(0xffffffffU, key, offset);
      key = other > key ? other : key;
    }
    if (threadIdx.x % kQuads == 0 && key != 0) atomicMax(epilogue.best + token, key);
  }
};

/// Tokens whose sums are in shared memory at a time.
template <int kTokens>
inline constexpr int kChunkTokens = kTokens < 32 ? kTokens : 32;

/// Finishes a group's sums over K, kTokens tokens of its rows, kChunk at a time through `memory`.
template <class Format, int kTokens, int kChunk = kChunkTokens<kTokens>, int kSize>
__device__ __forceinline__ void finish_group(const Finisher<Format>& finisher,
                                             const typename Format::Part (&total)[kSize],
                                             float token_scale, float* memory) {
  constexpr int kChunks = kTokens / kChunk;
  constexpr int kChunkSize = kSize / kChunks;
  constexpr int kCount = kChunk / Finisher<Format>::kTokenStride;
  const ChunkSums<Format, kChunk> sums = {memory};
  const int thread = threadIdx.x % kFinishThreads;
  const int barrier = 1 + static_cast<int>(threadIdx.x) / kFinishThreads;
  const auto put = [&](int chunk) {
    store_chunk<kChunkSize>(total, chunk, memory);
    if (thread / kChunk == chunk) sums.put_token_scale(thread % kChunk, token_scale);
    named_barrier(barrier, kFinishThreads);
  };
  if (finisher.is_plain()) {
    float4 old[kChunks][kCount] = {};
#pragma unroll
    for (int chunk = 0; chunk < kChunks; ++chunk)
      finisher.load_old(chunk * kChunk, (chunk + 1) * kChunk, old[chunk]);
#pragma unroll
    for (int chunk = 0; chunk < kChunks; ++chunk) {
      put(chunk);
      finisher.finish_plain(chunk * kChunk, (chunk + 1) * kChunk, old[chunk], sums);
      named_barrier(barrier, kFinishThreads);
    }
    return;
  }
#pragma unroll 1
  for (int chunk = 0; chunk < kChunks; ++chunk) {
    put(chunk);
    finisher.finish_other(chunk * kChunk, (chunk + 1) * kChunk, sums);
    named_barrier(barrier, kFinishThreads);
  }
}

}  // namespace iol::cuda
