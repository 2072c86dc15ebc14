// x W^T with f16 weights and activations, f32 sums.
#include "backend/cuda/kernels/linear_half.cuh"

namespace iol::cuda {
namespace {

struct F16Format : HalfFormat {
  using Made = F16Format;
  static constexpr OperandNumber kOperand = OperandNumber::kF16;
#if defined(IOL_HAS_WGMMA)
  template <int kSize>
  static __device__ __forceinline__ void multiply_all(float (&d)[kSize],
                                                      const std::uint32_t (&a)[4], std::uint64_t b,
                                                      bool accumulate) {
    wgmma_f16(d, a, b, accumulate);
  }
#endif
  static __device__ __forceinline__ void multiply(const LinearArgs&, int, int, int,
                                                  const Weights& w, const Row& x, Sum& sum) {
    mma_f16(sum.d, w.v[0].x, w.v[0].y, w.v[0].z, w.v[0].w, x.v.x, x.v.y);
    mma_f16(sum.d, w.v[1].x, w.v[1].y, w.v[1].z, w.v[1].w, x.v.z, x.v.w);
  }
};

}  // namespace

void linear_f16(const LinearTask& task, StreamHandle stream) {
  multiply_rows<F16Format>(task, stream);
}

void chain_f16(const ChainTask& task, StreamHandle stream) {
  launch_chain<F16Format::Made>(task, stream);
}

}  // namespace iol::cuda
