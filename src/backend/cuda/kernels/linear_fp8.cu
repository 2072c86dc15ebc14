// x W^T with E4M3 weights and activations. Codes become f16, which holds them exactly, on their way
// into the mma; products are exact, sums f32. Dealt rows take fp8 instructions, which are twice as
// fast and keep fewer bits of their sums; those of 256 columns each are added in f32. Widened rows
// take f16 instructions. Few rows may be bf16 numbers yet (code_rows.cuh).
//   out[m][n] = (sum over k of x[m][k] w[n][k]) * (x_scales[m] * scales[n])
#include "backend/cuda/kernels/code_rows.cuh"

namespace iol::cuda {
namespace {

struct MadeFp8Format;

struct Fp8Format : FloatFormat, VectorWeights {
  using Made = MadeFp8Format;
  static constexpr OperandNumber kOperand = OperandNumber::kFp8;
  using Row = NarrowRow;
  static constexpr int kRowBytes = NarrowRow::kRowBytes;
  static constexpr int kRunBytes = NarrowRow::kRunBytes;
  static constexpr int kOperandBytes = 1;
  static constexpr int kSteps = 2;
  static constexpr bool kTakesRing = true;
  static constexpr bool kAddsStages = true;
  static constexpr bool kHasRowScales = true;
  static constexpr bool kHasTokenScales = true;
#if defined(IOL_HAS_WGMMA)
  static __device__ __forceinline__ void operand(const Weights& w, int step,
                                                 std::uint32_t (&a)[4]) {
    take_operand(w, step, a);
  }
  template <int kSize>
  static __device__ __forceinline__ void multiply_all(float (&d)[kSize],
                                                      const std::uint32_t (&a)[4], std::uint64_t b,
                                                      bool accumulate) {
    wgmma_e4m3(d, a, b, accumulate);
  }
#endif
  static __device__ __forceinline__ Row load_row(const std::byte* p) { return load_narrow_row(p); }
  /// 16 columns: four codes of rows g and g + 8, and of the token.
  static __device__ __forceinline__ void multiply_four(std::uint32_t low_row,
                                                       std::uint32_t high_row, std::uint32_t x,
                                                       Sum& sum) {
    std::uint32_t a0, a1, a2, a3, b0, b1;
    e4m3_to_f16(low_row, a0, a2);
    e4m3_to_f16(high_row, a1, a3);
    e4m3_to_f16(x, b0, b1);
    mma_f16(sum.d, a0, a1, a2, a3, b0, b1);
  }
  static __device__ __forceinline__ void multiply(const LinearArgs&, int, int, int,
                                                  const Weights& w, const Row& x, Sum& sum) {
    multiply_four(w.v[0].x, w.v[0].y, x.v.x, sum);
    multiply_four(w.v[0].z, w.v[0].w, x.v.y, sum);
    multiply_four(w.v[1].x, w.v[1].y, x.v.z, sum);
    multiply_four(w.v[1].z, w.v[1].w, x.v.w, sum);
  }
  static __device__ __forceinline__ float scaled(float sum, float token_scale, float row_scale) {
    return __fmul_rn(sum, __fmul_rn(token_scale, row_scale));
  }
};

/// Rows of x are f16 numbers already.
struct WidenedFp8Format : Fp8Format {
  static constexpr int kRowBytes = 128;
  static constexpr int kOperandBytes = 2;
  static constexpr int kSteps = 4;
  static constexpr bool kAddsStages = false;
#if defined(IOL_HAS_WGMMA)
  static __device__ __forceinline__ void operand(const Weights& w, int step,
                                                 std::uint32_t (&a)[4]) {
    const uint4& v = w.v[step / 2];
    e4m3_to_f16(step % 2 == 0 ? v.x : v.z, a[0], a[2]);
    e4m3_to_f16(step % 2 == 0 ? v.y : v.w, a[1], a[3]);
  }
  template <int kSize>
  static __device__ __forceinline__ void multiply_all(float (&d)[kSize],
                                                      const std::uint32_t (&a)[4], std::uint64_t b,
                                                      bool accumulate) {
    wgmma_f16(d, a, b, accumulate);
  }
#endif
};

/// Rows of x become f16 where they are made: once, not in each block of weights.
struct MadeFp8Format : Fp8Format {
  using Row = WideRow;
  static constexpr int kRowBytes = WideRow::kRowBytes;
  static constexpr int kRunBytes = WideRow::kRunBytes;
  static constexpr int kOperandBytes = 2;
  static __device__ __forceinline__ Row load_row(const std::byte* p) { return load_wide_row(p); }
  static __device__ __forceinline__ void multiply_four(std::uint32_t low_row,
                                                       std::uint32_t high_row, std::uint32_t b0,
                                                       std::uint32_t b1, Sum& sum) {
    std::uint32_t a0, a1, a2, a3;
    e4m3_to_f16(low_row, a0, a2);
    e4m3_to_f16(high_row, a1, a3);
    mma_f16(sum.d, a0, a1, a2, a3, b0, b1);
  }
  static __device__ __forceinline__ void multiply(const LinearArgs&, int, int, int,
                                                  const Weights& w, const Row& x, Sum& sum) {
    multiply_wide<MadeFp8Format>(w, x, sum);
  }
};

}  // namespace

void linear_fp8(const LinearTask& task, StreamHandle stream) {
  if (task.x.largest != nullptr) return launch_ring<MadeFp8Format, CodedRows>(task, stream);
  if (task.x.form == RowForm::kWidened) return multiply_dealt<WidenedFp8Format>(task, stream);
  multiply_rows<Fp8Format>(task, stream);
}

void chain_fp8(const ChainTask& task, StreamHandle stream) {
  launch_chain<Fp8Format::Made>(task, stream);
}

}  // namespace iol::cuda
