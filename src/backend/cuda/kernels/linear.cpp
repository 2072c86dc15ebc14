#include <cuda_runtime_api.h>

#include <initializer_list>

#include "backend/cuda/kernels/kernel_level.h"
#include "backend/cuda/kernels/kernels.h"

namespace iol::cuda {
namespace {

constexpr int kWideRows = 128;

int multiprocessors() {
  int device = 0;
  int count = 1;
  static_cast<void>(cudaGetDevice(&device));
  static_cast<void>(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device));
  return count;
}

}  // namespace

bool takes_dealt_rows(const MatrixView& matrix, int num_tokens) {
  constexpr int kFewTokens = 64;
  return num_tokens > kFewTokens && !is_plain_rows(matrix.layout) &&
         matrix.layout != MatrixLayout::kInt4 && takes_hopper_kernels();
}

WideShape wide_shape(const LinearTask& task) {
  // Of a block: its part of K, and what it spends on starting and finishing, in tokens of a whole
  // K.
  constexpr double kFixed = 24;
  constexpr double kSplitFixed = 40;
  const int row_tiles = (task.matrix.rows + kWideRows - 1) / kWideRows;
  const int processors = multiprocessors();
  WideShape best;
  double least = 0;
  for (const WideShape shape :
       {WideShape{128, 1}, WideShape{64, 1}, WideShape{128, 4}, WideShape{64, 4}}) {
    const int blocks =
        (task.num_tokens + shape.tokens - 1) / shape.tokens * row_tiles * shape.split;
    const int waves = (blocks + processors - 1) / processors;
    const double cost = waves * (static_cast<double>(shape.tokens) / shape.split +
                                 (shape.split > 1 ? kSplitFixed : kFixed));
    if (best.tokens == 0 || cost < least) {
      best = shape;
      least = cost;
    }
  }
  return best;
}

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
