// x W^T with bf16 weights and activations, f32 sums.
#include "backend/cuda/kernels/linear_half.cuh"

namespace iol::cuda {

void linear_bf16(const LinearTask& task, StreamHandle stream) {
  multiply_rows<HalfFormat<true>>(task, stream);
}

void chain_bf16(const ChainTask& task, StreamHandle stream) {
  launch_chain<HalfFormat<true>>(task, stream);
}

}  // namespace iol::cuda
