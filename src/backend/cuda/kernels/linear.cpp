#include "backend/cuda/kernels/kernels.h"

namespace iol::cuda {

void linear(const LinearTask& task, StreamHandle stream) {
  switch (task.matrix.layout) {
    case MatrixLayout::kF32Rows:
    case MatrixLayout::kInt8Rows:
      return linear_rows(task, stream);
    case MatrixLayout::kBf16:
      return linear_bf16(task, stream);
    case MatrixLayout::kF16:
      return linear_f16(task, stream);
    case MatrixLayout::kInt8:
      return linear_int8(task, stream);
    case MatrixLayout::kInt8Bf16:
    case MatrixLayout::kInt8F16:
      return linear_int8_weights(task, stream);
    case MatrixLayout::kFp8:
      return linear_fp8(task, stream);
    case MatrixLayout::kInt4:
      return linear_int4(task, stream);
  }
}

}  // namespace iol::cuda
