// x W^T with int8 weights and bf16 or f16 activations; codes become 16-bit numbers, which hold them
// exactly:
//   out[m][n] = (sum over k of x[m][k] w[n][k]) * scales[n]
#include "backend/cuda/kernels/linear_half.cuh"

namespace iol::cuda {
namespace {

template <bool kIsBf16>
struct Int8WeightFormat : HalfOperandFormat<kIsBf16> {
  using Made = Int8WeightFormat;
  using Sum = FloatSum;
  using Weights = TwoVectors;
  using Row = WideRow;
  static constexpr int kRowBytes = WideRow::kRowBytes;
  static constexpr int kRunBytes = WideRow::kRunBytes;
  static constexpr int kSteps = 4;
  static constexpr bool kHasRowScales = true;
  static __device__ __forceinline__ void operand(const Weights& w, int step,
                                                 std::uint32_t (&a)[4]) {
    const uint4& v = w.v[step / 2];
    const std::uint32_t low_row = step % 2 == 0 ? v.x : v.z;
    const std::uint32_t high_row = step % 2 == 0 ? v.y : v.w;
    int8_to_half<kIsBf16>(low_row, a[0], a[2]);
    int8_to_half<kIsBf16>(high_row, a[1], a[3]);
  }
  static __device__ __forceinline__ Row load_row(const std::byte* p) { return load_wide_row(p); }
  static __device__ __forceinline__ void multiply_four(std::uint32_t low_row,
                                                       std::uint32_t high_row, std::uint32_t b0,
                                                       std::uint32_t b1, Sum& sum) {
    std::uint32_t a0, a1, a2, a3;
    int8_to_half<kIsBf16>(low_row, a0, a2);
    int8_to_half<kIsBf16>(high_row, a1, a3);
    mma_half<kIsBf16>(sum.d, a0, a1, a2, a3, b0, b1);
  }
  static __device__ __forceinline__ void multiply(const LinearArgs&, int, int, int,
                                                  const Weights& w, const Row& x, Sum& sum) {
    multiply_wide<Int8WeightFormat>(w, x, sum);
  }
  static __device__ __forceinline__ float scaled(float sum, float token_scale, float row_scale) {
    return __fmul_rn(sum, kIsBf16 ? __fmul_rn(token_scale, row_scale) : row_scale);
  }
};

}  // namespace

void linear_int8_weights(const LinearTask& task, StreamHandle stream) {
  task.matrix.layout == MatrixLayout::kInt8Bf16
      ? multiply_rows<Int8WeightFormat<true>>(task, stream)
      : multiply_rows<Int8WeightFormat<false>>(task, stream);
}

void chain_int8_weights(const ChainTask& task, StreamHandle stream) {
  task.links[0].matrix.layout == MatrixLayout::kInt8Bf16
      ? launch_chain<Int8WeightFormat<true>>(task, stream)
      : launch_chain<Int8WeightFormat<false>>(task, stream);
}

}  // namespace iol::cuda
