// x W^T with f16 weights and activations, f32 sums.
#include "backend/cuda/kernels/linear_half.cuh"

namespace iol::cuda {

void linear_f16(const LinearTask& task, StreamHandle stream) {
  multiply_rows<HalfFormat<false>>(task, stream);
}

void chain_f16(const ChainTask& task, StreamHandle stream) {
  launch_chain<HalfFormat<false>>(task, stream);
}

}  // namespace iol::cuda
