#pragma once
// The end of one token's product: parts of K added in ascending order by a row's thread, results
// finished as in finish_block(), and what the next product wants to know of the row they make
// (RowTraits). What a row is finished with - scale, bias, what is added to - is on its way while
// the block multiplies.
#include "backend/cuda/kernels/linear_tile.cuh"
#include "backend/cuda/kernels/operand_rows.cuh"

namespace iol::cuda {

struct RowFinishArgs {
  EpilogueArgs epilogue;
  RowTraits left;
  const float* next_norm;
};

inline RowFinishArgs row_finish_args(const LinearTask& task) {
  return {epilogue_args(task), task.left, task.next_norm};
}

/// A thread's row, of the first kTiles * 16 threads. Gated: rows of gate, then of up.
template <class Format, int kTiles>
class RowFinish {
 public:
  static constexpr int kRows = kTiles * kTileRows;
  static_assert(kRows <= 32);

  /// Before the kernels in front are over. `unit`: of kRows rows; `thread`: of those that finish.
  __device__ __forceinline__ RowFinish(const RowFinishArgs& args, const MatrixView& matrix,
                                       int unit, int thread)
      : args_(args), unit_(unit), thread_(thread), row_(unit * kRows + thread) {
    if (thread >= kRows) return;
    const EpilogueArgs& epilogue = args.epilogue;
    if constexpr (Format::kHasRowScales) scale_ = matrix.scales[row_];
    if (epilogue.bias != nullptr) bias_ = epilogue.bias[row_];
    if (args.next_norm != nullptr && is_wanted()) next_norm_ = args.next_norm[row_];
  }
  /// Behind that.
  __device__ __forceinline__ void load_old() {
    if (args_.epilogue.kind == Epilogue::kAdd && is_wanted()) old_ = out()[row_];
  }
  /// By the first warp of them; `parts`: [part][row] in shared memory. Returns the largest
  /// magnitude of what the next product makes its row of.
  __device__ __forceinline__ float finish(const float* parts, float token_scale) const {
    typename Format::Part sum = 0;
    if (thread_ < kRows) {
#pragma unroll
      for (int part = 0; part < kNumParts; ++part)
        sum += Format::part(parts[part * kRows + thread_]);
    }
    float value = Format::scaled(sum, token_scale, scale_);
    if (args_.epilogue.bias != nullptr) value += bias_;
    const float size = kTiles == 2 ? finish_gated(value) : finish_plain(value);
    const float largest = warp_largest(fmaxf(fabsf(size), 0.0F));
    if (args_.left.largest != nullptr && thread_ == 0) args_.left.largest[unit_] = largest;
    return largest;
  }

 private:
  [[nodiscard]] __device__ __forceinline__ bool is_wanted() const {
    return thread_ < kRows && row_ < args_.epilogue.out_columns;
  }
  [[nodiscard]] __device__ __forceinline__ float* out() const {
    return static_cast<float*>(args_.epilogue.out);
  }
  __device__ __forceinline__ float finish_plain(float value) const {
    if (args_.epilogue.kind == Epilogue::kAdd) value = old_ + value;
    if (is_wanted()) {
      out()[row_] = value;
    } else {
      value = 0;
    }
    if (args_.left.squares != nullptr) {
      const SquareSum squares = lane_tile_squares(value);
      if (thread_ == 0) args_.left.squares[unit_] = squares;
    }
    return __fmul_rn(value, next_norm_);
  }
  __device__ __forceinline__ float finish_gated(float value) const {
    const EpilogueArgs& epilogue = args_.epilogue;
    const float up = __shfl_down_sync(0xffffffffU, value, kTileRows);
    const int column = unit_ * kTileRows + thread_;
    if (thread_ >= kTileRows || column >= epilogue.out_columns) return 0;
    const float result = silu(value) * up;
    store_gated(epilogue, 0, column, result);
    return result;
  }

  const RowFinishArgs& args_;
  int unit_;
  int thread_;
  int row_;  // of the matrix
  float scale_ = 0;
  float bias_ = 0;
  float next_norm_ = 1;
  float old_ = 0;
};

/// A warp's sums of the one token, to [row].
template <class Format, int kTiles>
__device__ __forceinline__ void store_row_part(const typename Format::Sum (&sums)[kTiles][1],
                                               float* out) {
  const int lane = threadIdx.x % 32;
  if (lane % 4 != 0) return;
#pragma unroll
  for (int t = 0; t < kTiles; ++t) {
    out[t * kTileRows + lane / 4] = Format::bits(sums[t][0], 0);
    out[t * kTileRows + lane / 4 + 8] = Format::bits(sums[t][0], 2);
  }
}

}  // namespace iol::cuda
