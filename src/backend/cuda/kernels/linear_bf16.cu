// x W^T with bf16 weights and activations, f32 sums.
#include "backend/cuda/kernels/linear_half.cuh"

namespace iol::cuda {

void linear_bf16(const LinearTask& task, StreamHandle stream) {
  multiply_rows<NormedBf16Format>(task, stream);
}

void chain_bf16(const ChainTask& task, StreamHandle stream) {
  launch_chain<NormedBf16Format>(task, stream);
}

}  // namespace iol::cuda
