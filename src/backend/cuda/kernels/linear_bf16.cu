// x W^T with bf16 weights and activations, f32 sums.
#include "backend/cuda/kernels/linear_half.cuh"

namespace iol::cuda {
namespace {

struct Bf16Format : HalfFormat {
  using Made = Bf16Format;
  static constexpr OperandNumber kOperand = OperandNumber::kBf16;
#if defined(IOL_HAS_WGMMA)
  template <int kSize>
  static __device__ __forceinline__ void multiply_all(float (&d)[kSize],
                                                      const std::uint32_t (&a)[4], std::uint64_t b,
                                                      bool accumulate) {
    wgmma_bf16(d, a, b, accumulate);
  }
#endif
  static __device__ __forceinline__ void multiply(const LinearArgs&, int, int, int,
                                                  const Weights& w, const Row& x, Sum& sum) {
    mma_bf16(sum.d, w.v[0].x, w.v[0].y, w.v[0].z, w.v[0].w, x.v.x, x.v.y);
    mma_bf16(sum.d, w.v[1].x, w.v[1].y, w.v[1].z, w.v[1].w, x.v.z, x.v.w);
  }
};

}  // namespace

void linear_bf16(const LinearTask& task, StreamHandle stream) {
  multiply_rows<Bf16Format>(task, stream);
}

void chain_bf16(const ChainTask& task, StreamHandle stream) {
  launch_chain<Bf16Format::Made>(task, stream);
}

}  // namespace iol::cuda
