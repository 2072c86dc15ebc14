#include <cuda_runtime_api.h>

#include <algorithm>

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

RowForm row_form(const MatrixView& matrix, int num_tokens, bool is_exact) {
  constexpr int kFewTokens = 8;  // the portable kernel is faster
  constexpr int kExactTokens = 64;
  if (is_plain_rows(matrix.layout) || matrix.layout == MatrixLayout::kInt4 ||
      num_tokens <= kFewTokens || !takes_hopper_kernels())
    return RowForm::kPlain;
  const bool widens =
      matrix.layout == MatrixLayout::kFp8 && (is_exact || num_tokens <= kExactTokens);
  return widens ? RowForm::kWidened : RowForm::kDealt;
}

bool can_make_row(const MatrixView& matrix, int num_tokens) {
  if (is_plain_rows(matrix.layout) || matrix.layout == MatrixLayout::kInt4 ||
      matrix.columns % 4 != 0)
    return false;
  // As many runs as a thread has registers for.
  return num_tokens == 1 && matrix.padded_columns <= 4 * kRunColumns;
}

bool has_shape(const LinearTask& task, const WideShape& shape) {
  // Bytes times 16-bit numbers: no registers are left for the sums of two parts.
  const bool is_wide = run_pieces(task.matrix.layout, task.x.form) == 8;
  return !(is_wide && shape.tokens == 64 && shape.split == 4);
}

WideShape wide_shape(const LinearTask& task) {
  // Microseconds of a block on an H200, measured (bench/kernels/linear_bench.cpp): to start and
  // finish, and for each two blocks of K. Only their ratios matter.
  struct Cost {
    WideShape shape;  // 64 tokens: at most
    double fixed;
    double step;
    int at_once;  // blocks of a multiprocessor
  };
  constexpr Cost kCosts[] = {{{128, 1}, 14.0, 0.357, 1},
                             {{128, 4}, 9.7, 0.357, 1},
                             {{64, 1}, 8.5, 0.280, 1},
                             {{64, 4}, 7.9, 0.410, 2},
                             {{64, 8}, 7.5, 0.530, 2}};
  const int processors = multiprocessors();
  const int row_tiles = (task.matrix.rows + kWideRows - 1) / kWideRows;
  int few = 16;
  while (few < 64 && few < task.num_tokens) few *= 2;
  WideShape best;
  double least = 0;
  for (const Cost& cost : kCosts) {
    const bool is_large = cost.shape.tokens > 64;
    if (is_large && task.num_tokens <= 64) continue;
    const WideShape shape = {is_large ? cost.shape.tokens : few, cost.shape.split};
    if (!has_shape(task, shape)) continue;
    const int tiles = (task.num_tokens + shape.tokens - 1) / shape.tokens * row_tiles;
    // A cluster lies within a group of multiprocessors, which leaves an eighth of them over.
    const int at_once = shape.split > 1 ? cost.at_once * processors * 7 / 8 / shape.split
                                        : cost.at_once * processors;
    const int waves = (tiles + at_once - 1) / at_once;
    const double time =
        waves * (cost.fixed + cost.step * num_blocks(task.matrix) / 2 / shape.split);
    if (best.tokens == 0 || time < least) {
      best = shape;
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
