// x W^T with int8 weights and activations: exact i32 sums,
//   out[m][n] = (sum over k of x[m][k] w[n][k]) * (x_scales[m] * scales[n])
#include "backend/cuda/kernels/linear_half.cuh"

namespace iol::cuda {
namespace {

struct Int8Format : VectorWeights {
  using Made = Int8Format;
  struct Sum {
    int d[4];
  };
  using Part = int;
  using Row = NarrowRow;
  static constexpr int kRowBytes = NarrowRow::kRowBytes;
  static constexpr int kRunBytes = NarrowRow::kRunBytes;
  static constexpr int kOperandBytes = 1;
  static constexpr OperandNumber kOperand = OperandNumber::kInt8;
  static constexpr int kSteps = 2;
  static constexpr bool kAddsStages = false;
  static constexpr bool kHasGroups = false;
  static constexpr bool kTakesRing = true;
  static constexpr bool kHasRowScales = true;
  static constexpr bool kHasTokenScales = true;
#if defined(IOL_HAS_WGMMA)
  static __device__ __forceinline__ void operand(const Weights& w, int step,
                                                 std::uint32_t (&a)[4]) {
    take_operand(w, step, a);
  }
  template <int kSize>
  static __device__ __forceinline__ void multiply_all(int (&d)[kSize], const std::uint32_t (&a)[4],
                                                      std::uint64_t b, bool accumulate) {
    wgmma_int8(d, a, b, accumulate);
  }
#endif
  static __device__ __forceinline__ float bits(const Sum& sum, int i) {
    return __int_as_float(sum.d[i]);
  }
  static __device__ __forceinline__ int part(float bits) { return __float_as_int(bits); }
  static __device__ __forceinline__ Row load_row(const std::byte* p) { return load_narrow_row(p); }
  static __device__ __forceinline__ void multiply(const LinearArgs&, int, int, int,
                                                  const Weights& w, const Row& x, Sum& sum) {
    mma_int8(sum.d, w.v[0].x, w.v[0].y, w.v[0].z, w.v[0].w, x.v.x, x.v.y);
    mma_int8(sum.d, w.v[1].x, w.v[1].y, w.v[1].z, w.v[1].w, x.v.z, x.v.w);
  }
  static __device__ __forceinline__ float scaled(int sum, float token_scale, float row_scale) {
    return __fmul_rn(static_cast<float>(sum), __fmul_rn(token_scale, row_scale));
  }
};

}  // namespace

void linear_int8(const LinearTask& task, StreamHandle stream) {
  multiply_rows<Int8Format>(task, stream);
}

void chain_int8(const ChainTask& task, StreamHandle stream) {
  launch_chain<Int8Format::Made>(task, stream);
}

}  // namespace iol::cuda
