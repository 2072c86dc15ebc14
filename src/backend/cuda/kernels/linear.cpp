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
  // Microseconds of a block on an H200, measured (bench/kernels/linear_bench.cpp): to start and
  // finish, and for each two blocks of K. Only their ratios matter.
  struct Cost {
    WideShape shape;
    double fixed;
    double step;
  };
  constexpr Cost kCosts[] = {{{128, 1}, 14.6, 0.347},
                             {{64, 1}, 11.0, 0.288},
                             {{128, 4}, 9.6, 0.100},
                             {{64, 4}, 7.5, 0.077}};
  const int processors = multiprocessors();
  const int row_tiles = (task.matrix.rows + kWideRows - 1) / kWideRows;
  WideShape best;
  double least = 0;
  for (const Cost& cost : kCosts) {
    const int tiles = (task.num_tokens + cost.shape.tokens - 1) / cost.shape.tokens * row_tiles;
    // A cluster lies within a group of multiprocessors, which leaves an eighth of them over.
    const int at_once = cost.shape.split > 1 ? processors * 7 / 8 / cost.shape.split : processors;
    const int waves = (tiles + at_once - 1) / at_once;
    const double time = waves * (cost.fixed + cost.step * num_blocks(task.matrix) / 2);
    if (best.tokens == 0 || time < least) {
      best = cost.shape;
      least = time;
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
