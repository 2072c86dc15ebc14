#pragma once
// Rows that become codes where they are multiplied. What kernels in front leave are bf16 numbers
// and the largest magnitude of each row (LinearTask::next_largest), so that a lane makes codes of
// the numbers that it multiplies, without a kernel between. Each block of weights does it again,
// and reads two bytes of a number where a code is one, which the memory hides when weights come
// through rings. The bits are those of prepare_rows.cu.
#include "backend/cuda/kernels/linear_half.cuh"
#include "backend/cuda/kernels/linear_ring.cuh"

namespace iol::cuda {

/// Of E4M3 codes that are multiplied as f16, for sum_ring().
template <class Finish>
struct CodedRows : MadeBefore<Finish> {
  using MadeBefore<Finish>::args;
  using MadeBefore<Finish>::finish;
  mutable float inverse = 0;  // of the lane's token

  template <int kGroups>
  __device__ __forceinline__ void make_beside() const {
    inverse = coder_of(static_cast<int>(threadIdx.x) % 32 / 4).inverse;
    const int token = finish.token();
    float scale = coder_of(token).scale();
    if (args.x_squares != nullptr && is_there(token))
      scale = __fmul_rn(scale, norm_factor(args.x_squares[token], args.matrix.columns, args.eps));
    finish.load_with(scale);
  }
  template <class Format>
  [[nodiscard]] __device__ __forceinline__ typename Format::Row load(const std::byte* p) const {
    WideRow x = load_wide_row(p);
#pragma unroll
    for (uint4& v : x.v) {
      code_four(v.x, v.y);
      code_four(v.z, v.w);
    }
    return x;
  }

 private:
  [[nodiscard]] __device__ __forceinline__ bool is_there(int token) const {
    return token < args.epilogue.num_tokens;
  }
  [[nodiscard]] __device__ __forceinline__ RowCoder coder_of(int token) const {
    return {false, is_there(token) ? __uint_as_float(args.x_largest[token]) : 0.0F};
  }
  /// Two pairs of bf16 numbers become their codes, as f16.
  __device__ __forceinline__ void code_four(std::uint32_t& first, std::uint32_t& second) const {
    const float x[4] = {bf16_low(first), bf16_high(first), bf16_low(second), bf16_high(second)};
    e4m3_to_f16(to_e4m3(x, inverse), first, second);
  }
};

}  // namespace iol::cuda
