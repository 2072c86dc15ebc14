#include <algorithm>

#include "backend/cuda/kernels/kernel_level.h"
#include "backend/cuda/kernels/kernels.h"

namespace iol::cuda {
namespace {

/// Bytes times 16-bit numbers: four multiplications to a block of K.
bool is_wide(const LinearTask& task) { return run_pieces(task.matrix.layout, task.x.form) == 8; }

/// Microseconds of a product in a shape, on an H200 (bench/kernels/linear_bench.cpp). Only their
/// ratios matter.
double wide_time(const LinearTask& task, const WideShape& shape, int processors) {
  constexpr double kStart = 3.5;           // until rows of x are there
  constexpr double kFinish = 1.5;          // of a unit
  constexpr double kExchange = 1.5;        // in a cluster
  constexpr double kStep = 0.034;          // of a group's multiplication by 128 tokens
  constexpr double kKilobyte = 0.0115;     // on its way to a multiprocessor
  constexpr double kMegabyte = 0.23;       // of weights on their way from device memory
  const int stages = (num_blocks(task.matrix) + 1) / 2;
  const int groups = (shape.rows + 63) / 64;
  const int steps = is_wide(task) ? 8 : 4;
  const int row_bytes = is_wide(task) ? 256 : 128;
  const double kilobytes = (shape.tokens * row_bytes + shape.rows * 128) / 1024.0;
  const double stage = std::max(kStep * steps * groups * shape.tokens / 128, kKilobyte * kilobytes);
  const int units = (task.num_tokens + shape.tokens - 1) / shape.tokens *
                    ((task.matrix.rows + shape.rows - 1) / shape.rows);
  const double unit = kFinish + stage * stages / shape.split;
  const double weights = kMegabyte * task.matrix.rows * stages * 128 / 1048576;
  if (shape.split == 1)
    return kStart + std::max(weights, (units + processors - 1) / processors * unit);
  // A cluster lies within a group of multiprocessors, which leaves a tenth of them over.
  const int halves = shape.tokens <= 64 ? 2 : 1;
  const int at_once = halves * processors * 10 / 11 / shape.split;
  const int waves = (units + at_once - 1) / at_once;
  const double shared = units * shape.split > processors ? halves : 1;
  return kStart + std::max(weights, waves * (unit * shared + kExchange));
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

bool has_shape(const LinearTask& task, const WideShape& shape) {
  // No registers are left for the sums of two parts, or for operands beside those of 128 tokens.
  if (is_wide(task) && shape.tokens == 64 && shape.split == 4) return false;
  if (shape.share == 2 &&
      (shape.tokens != 128 || shape.split != 1 || (task.num_tokens + 127) / 128 % 2 != 0))
    return false;
  if (shape.rows > 128) return shape.tokens == 128 && !is_wide(task);
  return shape.split < 8 || shape.tokens <= 64;
}

WideShape wide_shape(const LinearTask& task) {
  const int processors = multiprocessors();
  int few = 16;
  while (few < 64 && few < task.num_tokens) few *= 2;
  WideShape best;
  double least = 0;
  for (const int tokens : {few, 128}) {
    if (tokens > 64 && task.num_tokens <= 64) continue;
    for (const int split : {1, 4, 8}) {
      for (const int rows : {32, 64, 96, 128, 192}) {
        const WideShape shape = {tokens, split, rows, 1};
        if (!has_shape(task, shape)) continue;
        const double time = wide_time(task, shape, processors);
        if (best.tokens == 0 || time < least) {
          best = shape;
          least = time;
        }
      }
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
