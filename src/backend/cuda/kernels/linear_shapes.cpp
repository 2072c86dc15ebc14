// The shape in which linear_wgmma.cuh, linear_apart.cuh or linear_large.cuh take a product.
#include <algorithm>

#include "backend/cuda/kernels/kernel_level.h"
#include "backend/cuda/kernels/kernels.h"

namespace iol::cuda {
namespace {

/// Bytes times 16-bit numbers: four multiplications to a block of K.
bool is_wide(const LinearTask& task) { return run_pieces(task.matrix.layout, task.x.form) == 8; }

/// fp8 instructions.
bool adds_stages(const LinearTask& task) {
  return task.matrix.layout == MatrixLayout::kFp8 && task.x.form == RowForm::kDealt;
}

int units_of(int count, int size) { return (count + size - 1) / size; }

/// int4: a stage's multiplications, and what its groups take between them.
double grouped_stage(int groups, int tokens) {
  return 0.20 + 0.045 * groups + (0.0012 + 0.0011 * groups) * tokens;
}

/// Of linear_wgmma.cuh, see time_of().
double wide_time(const LinearTask& task, const WideShape& shape, int processors) {
  constexpr double kUnit = 3.0;         // to start and finish one,
  constexpr double kUnitTokens = 0.83;  // for each 32 tokens
  constexpr double kUnitGroup = 0.96;   // and for each group behind the first
  constexpr double kFurther = 3.5;      // for a unit that isn't a block's last, with a finisher
  constexpr double kExchange = 0.69;    // in a cluster
  constexpr double kLeast = 0.14;       // two blocks of K
  constexpr double kStage = 0.031;      // the same with many tokens,
  constexpr double kGroupStage = 0.17;  // for a group's multiplications by 128 of them
  constexpr double kKilobyte = 0.0067;  // the same, for bytes on their way to a multiprocessor
  constexpr double kWeights = 0.014;    // from memory, when all multiprocessors want theirs
  constexpr double kTwice = 1.6;        // when two blocks share a multiprocessor
  const int stages = (num_blocks(task.matrix) + 1) / 2;
  const int groups = (shape.rows + 63) / 64;
  const int wide = is_wide(task) ? 2 : 1;
  const int token_units = units_of(task.num_tokens, shape.tokens);
  const int units = token_units * units_of(task.matrix.rows, shape.rows);
  const bool has_groups = task.matrix.layout == MatrixLayout::kInt4;
  const double weights = shape.rows / (has_groups ? 16.0 : 8.0);  // kilobytes of a stage
  const double kilobytes = shape.tokens * wide / 8.0 + weights;
  // A cluster lies within a group of multiprocessors, which leaves a tenth of them over.
  const int clustered = processors * 10 / 11;
  const int at_once = shape.split == 1 ? processors : 2 * clustered / shape.split;
  const double busy = std::min(1.0, static_cast<double>(units * shape.split) / processors);
  double stage = std::max({kLeast * wide, kStage + kGroupStage * wide * groups * shape.tokens / 128,
                           kKilobyte * kilobytes + kWeights * busy * weights / token_units,
                           has_groups ? grouped_stage(groups, shape.tokens) : 0.0});
  double unit = kUnit + kUnitTokens * shape.tokens / 32 + kUnitGroup * (groups - 1);
  if (shape.split > 1) {
    unit += kExchange;
    if (units * shape.split > clustered) stage *= kTwice;
  }
  const bool finishes_apart =
      has_finisher(shape.tokens, shape.split, shape.rows, has_groups, adds_stages(task));
  const double further = finishes_apart ? kFurther : unit;
  if (shape.sharers > 0) {
    const int parts = (units / token_units * kNumParts + shape.sharers - 1) / shape.sharers;
    const double begun = static_cast<double>(parts + kNumParts - 1) / kNumParts;
    return unit + (begun - 1) * further + stage * stages * parts / kNumParts;
  }
  const int waves = (units + at_once - 1) / at_once;
  return unit + (waves - 1) * further + waves * stage * stages / shape.split;
}

/// Of linear_apart.cuh.
double apart_time(const LinearTask& task, const WideShape& shape, int processors) {
  constexpr double kUnit = 2.8;
  constexpr double kUnitToken = 0.011;
  constexpr double kOwnToken = 0.09;   // that a block finishes
  constexpr double kUnitGroup = 0.75;  // for the second group
  constexpr double kStage = 0.032;     // of 128 rows,
  constexpr double kStageToken = 0.0016;
  constexpr double kBlock = 0.0036;  // for each block's weights
  const int stages = (num_blocks(task.matrix) + 1) / 2;
  const int units = units_of(task.matrix.rows, shape.rows);
  const int blocks = units * shape.split;
  // Half of the multiprocessors with two blocks is worse than each with one.
  const int places = (blocks + processors - 1) / processors * processors;
  const double busy = (blocks + places) / 2.0;
  const int wide = is_wide(task) ? 2 : 1;
  const double stage =
      shape.rows / 128.0 * (wide * (kStage + kStageToken * shape.tokens) + kBlock * busy);
  return kUnit + kUnitToken * shape.tokens + kOwnToken * shape.tokens / shape.split +
         kUnitGroup * (shape.rows > 64 ? 1 : 0) + stage * stages / shape.split;
}

/// Of linear_large.cuh.
double large_time(const LinearTask& task, const WideShape& shape, int processors) {
  constexpr double kUnit = 3.0;         // to start and finish one,
  constexpr double kUnitTokens = 0.54;  // for each 32 tokens
  constexpr double kExchange = 2.0;     // in a cluster
  constexpr double kStage = 0.075;      // two blocks of K by 32 tokens
  const int thirties = shape.tokens / 32;
  const int stages = ((num_blocks(task.matrix) + 1) / 2 + shape.split - 1) / shape.split;
  const int units =
      units_of(task.num_tokens, shape.tokens) * units_of(task.matrix.rows, shape.rows);
  const int waves = (units * shape.split + processors - 1) / processors;
  return waves *
         (kUnit + (shape.split > 1 ? kExchange : 0) + thirties * (kUnitTokens + kStage * stages));
}

/// Whether blocks that meet in device memory may have that shape.
bool has_apart_shape(const LinearTask& task, const WideShape& shape) {
  constexpr std::size_t kMostRows = 128;  // of a unit, for whose sums there is room
  if (adds_stages(task) || task.matrix.layout == MatrixLayout::kInt4) return false;
  if (task.exchange.sums == nullptr || shape.tokens > 64 || task.num_tokens > shape.tokens ||
      shape.rows > 128 || shape.sharers > 0)
    return false;
  const int units = units_of(task.matrix.rows, shape.rows);
  const auto sums = static_cast<std::size_t>(units) * kNumParts * kMostRows *
                    static_cast<std::size_t>(shape.tokens);
  return (shape.split == 4 || shape.split == 8) && units * shape.split <= 2 * multiprocessors() &&
         sums * sizeof(float) <= kExchangeSumBytes;
}

/// What is ahead of the others somewhere.
constexpr WideShape kFewTokenShapes[] = {{64, 1, 32},  {64, 1, 64}, {64, 1, 96},
                                         {64, 1, 128}, {64, 4, 64}, {64, 8, 128}};
constexpr WideShape kApartShapes[] = {{64, 4, 64}, {64, 8, 64}, {64, 4, 128}, {64, 8, 128}};
constexpr WideShape kManyTokenShapes[] = {{128, 1, 64}, {128, 1, 128}, {128, 1, 192}, {64, 1, 192}};
constexpr WideShape kLargeShapes[] = {{256, 1, 128}, {256, 2, 128}, {128, 2, 128}};

/// Microseconds of a product in a shape on an H200, fitted to what bench/kernels/linear_bench.cpp
/// measures: the shape that these find best is the best, or in nearly all products within a
/// twentieth of it. Only the ratios of these numbers matter.
double time_of(const LinearTask& task, const WideShape& shape, int processors) {
  if (is_large(shape)) return large_time(task, shape, processors);
  if (shape.is_apart) return apart_time(task, shape, processors);
  return wide_time(task, shape, processors);
}

}  // namespace

bool has_shape(const LinearTask& task, const WideShape& shape) {
  if (is_large(shape)) {
    const bool has_its_bits = !task.is_exact || task.matrix.layout == MatrixLayout::kInt8;
    if (task.x.squares != nullptr) return false;  // no kernel multiplies by the norm's factor
    return shape.rows == 128 && shape.sharers == 0 && has_its_bits && !is_wide(task) &&
           task.matrix.layout != MatrixLayout::kInt4;
  }
  if (shape.is_apart) return has_apart_shape(task, shape);
  // Sums of fewer bits are in one order for all numbers of tokens.
  if (adds_stages(task) && (shape.tokens < 64 || shape.split > 1)) return false;
  // No registers are left for the sums of two parts, or for weights beside sums of 128 tokens.
  const bool has_more_sums = is_wide(task) || task.matrix.layout == MatrixLayout::kInt4;
  if (has_more_sums && shape.tokens == 64 && shape.split == 4) return false;
  if (shape.sharers > 0) {
    const int row_units = units_of(task.matrix.rows, shape.rows);
    const int token_units = units_of(task.num_tokens, shape.tokens);
    if (task.exchange.sums == nullptr || shape.split > 1 || shape.sharers > row_units ||
        shape.sharers * token_units > kMostSharers)
      return false;
  }
  if (shape.rows > 128) {
    const int tokens = task.matrix.layout == MatrixLayout::kInt4 ? 64 : 128;
    return shape.tokens == tokens && shape.split == 1 && !is_wide(task);
  }
  return shape.split == 1 || shape.tokens <= 64;
}

int most_sharers(const LinearTask& task, const WideShape& shape) {
  const int token_units = units_of(task.num_tokens, shape.tokens);
  return std::min(multiprocessors(), kMostSharers) / token_units;
}

WideShape wide_shape(const LinearTask& task) {
  const int processors = multiprocessors();
  WideShape best;
  double least = 0;
  const auto consider = [&](const WideShape& shape) {
    if (!has_shape(task, shape)) return;
    const double time = time_of(task, shape, processors);
    if (best.tokens != 0 && time >= least) return;
    best = shape;
    least = time;
  };
  const auto consider_both = [&](WideShape shape) {
    consider(shape);
    shape.sharers = most_sharers(task, shape);
    if (shape.sharers > 0) consider(shape);
  };
  int few = 16;
  while (few < 64 && few < task.num_tokens) few *= 2;
  for (WideShape shape : kFewTokenShapes) {
    shape.tokens = few;
    consider_both(shape);
  }
  for (WideShape shape : kApartShapes) {
    shape.tokens = few;
    shape.is_apart = true;
    consider(shape);
  }
  if (task.num_tokens > 64) {
    for (const WideShape& shape : kManyTokenShapes) consider_both(shape);
  }
  // Fewer tokens keep the bits that each has alone: there is little to gain.
  if (task.num_tokens > (adds_stages(task) ? 64 : 128)) {
    for (const WideShape& shape : kLargeShapes) consider(shape);
  }
  return best;
}

}  // namespace iol::cuda
