#pragma once
// The end of a product of up to eight tokens: parts of K added in ascending order, a thread to a
// result. What it is finished with - scales, bias, what it is added to, the next norm - is on its
// way while the block multiplies.
#include "backend/cuda/kernels/epilogue.cuh"
#include "backend/cuda/kernels/linear_args.cuh"
#include "backend/cuda/kernels/operand_rows.cuh"

namespace iol::cuda {

/// kLogits: the largest of sixteen consecutive rows, one to each of sixteen lanes.
__device__ __forceinline__ void offer_best(const EpilogueArgs& epilogue, int token, int column,
                                           float value, bool present) {
  unsigned long long key =
      present && column < epilogue.out_columns ? best_key(value, column) : 0ULL;
#pragma unroll
  for (int offset = 8; offset > 0; offset /= 2) {
    const unsigned long long other = __shfl_xor_sync(0xffffffffU, key, offset);
    key = other > key ? other : key;
  }
  if (threadIdx.x % 16 == 0 && key != 0) atomicMax(epilogue.best + token, key);
}

/// Of a block's kTiles tiles of 16 rows, one, or one of gate and one of up, and eight tokens.
template <class Format, int kTiles>
class FewFinish {
  static_assert(kTiles == 1 || kTiles == 2);
  static constexpr int kRows = kTiles * kTileRows;
  static constexpr int kTokens = 8;
  static constexpr int kStride = kRows + 4;  // of parts

 public:
  /// Before the kernels in front are over.
  __device__ __forceinline__ FewFinish(const LinearArgs& args, int first_tile, int first_token)
      : args_(args),
        row_(first_tile * kTileRows + place()),
        token_(first_token + static_cast<int>(threadIdx.x) / kTileRows) {
    const EpilogueArgs& epilogue = args.epilogue;
    is_present_ = threadIdx.x < kTokens * kTileRows && token_ < epilogue.num_tokens &&
                  column() < epilogue.out_columns;
    if (!is_present_) return;
#pragma unroll
    for (int t = 0; t < kTiles; ++t) {
      if constexpr (Format::kHasRowScales) scale_[t] = args.matrix.scales[row_ + t * kTileRows];
      if (epilogue.bias != nullptr) bias_[t] = epilogue.bias[row_ + t * kTileRows];
    }
    if (epilogue.next.values != nullptr) next_norm_ = epilogue.next_norm[column()];
  }
  /// Behind that.
  __device__ __forceinline__ void load() {
    if (is_present_) load_with(token_scale_of<Format>(args_, token_));
  }
  /// The same of a token whose scale is known.
  __device__ __forceinline__ void load_with(float token_scale) {
    token_scale_ = token_scale;
    if (is_present_ && args_.epilogue.kind == Epilogue::kAdd) old_ = *out();
  }
  [[nodiscard]] __device__ __forceinline__ int token() const { return token_; }
  /// `parts`: [part][token][row], padded.
  __device__ __forceinline__ void finish(const float* parts) const {
    if (threadIdx.x >= kTokens * kTileRows) return;
    const EpilogueArgs& epilogue = args_.epilogue;
    const float value = is_present_ ? total(parts, 0) : 0;
    if constexpr (kTiles == 2) {
      const float result = is_present_ ? silu(value) * total(parts, 1) : 0;
      if (is_present_) store_gated(epilogue, token_, column(), result);
      offer_largest(result);
    } else {
      const bool adds = epilogue.kind == Epilogue::kAdd;
      const float result = adds ? old_ + value : value;
      if (is_present_) *out() = result;
      if (epilogue.next.values != nullptr) leave(result);
      if (epilogue.kind == Epilogue::kLogits)
        offer_best(epilogue, token_, row_, result, is_present_);
    }
  }

 private:
  __device__ __forceinline__ static int place() {
    return static_cast<int>(threadIdx.x) % kTileRows;
  }
  [[nodiscard]] __device__ __forceinline__ int column() const {
    return kTiles == 1 ? row_ : (row_ - place()) / 2 + place();
  }
  [[nodiscard]] __device__ __forceinline__ float* out() const {
    return static_cast<float*>(args_.epilogue.out) +
           static_cast<std::int64_t>(token_) * args_.epilogue.out_stride + row_;
  }
  /// Of the thread's row in tile `t`.
  [[nodiscard]] __device__ __forceinline__ float total(const float* parts, int t) const {
    const int token = static_cast<int>(threadIdx.x) / kTileRows;
    typename Format::Part sum = 0;
#pragma unroll
    for (int part = 0; part < kNumParts; ++part)
      sum += Format::part(parts[(part * kTokens + token) * kStride + t * kTileRows + place()]);
    const float value = Format::scaled(sum, token_scale_, scale_[t]);
    return args_.epilogue.bias != nullptr ? value + bias_[t] : value;
  }
  __device__ __forceinline__ void leave(float result) const {
    const NormedRows& next = args_.epilogue.next;
    const SquareSum squares = lane_tile_squares(is_present_ ? result : 0);
    const float number = is_present_ ? __fmul_rn(result, next_norm_) : 0;
    if (is_present_) {
      next.values[static_cast<std::int64_t>(token_) * args_.epilogue.out_columns +
                  dealt_column(row_, 2, next.run)] = to_bf16(number);
      if (place() == 0) atomicAdd(next.squares + token_, squares);
    }
    offer_largest(number);
  }
  /// By all threads that finish: a number of the token's row. NaN counts as zero.
  __device__ __forceinline__ void offer_largest(float number) const {
    if (args_.epilogue.next_largest == nullptr) return;
    float largest = fmaxf(fabsf(number), 0.0F);
#pragma unroll
    for (int offset = kTileRows / 2; offset > 0; offset /= 2)
      largest = fmaxf(largest, __shfl_xor_sync(0xffffffffU, largest, offset));
    if (place() == 0 && is_present_)
      atomicMax(args_.epilogue.next_largest + token_, __float_as_uint(largest));
  }

  const LinearArgs& args_;
  int row_;  // of the matrix; of a gate
  int token_;
  bool is_present_;
  float scale_[kTiles] = {};
  float bias_[kTiles] = {};
  float token_scale_ = 0;
  float next_norm_ = 0;
  float old_ = 0;
};

}  // namespace iol::cuda
