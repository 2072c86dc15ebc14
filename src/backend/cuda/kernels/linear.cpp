#include "backend/cuda/kernels/kernel_level.h"
#include "backend/cuda/kernels/kernels.h"

namespace iol::cuda {

namespace {

constexpr int kFewTokens = 8;  // the portable kernel is faster
static_assert(kMostCodedTokens <= kFewTokens);

}  // namespace

RowForm row_form(const MatrixView& matrix, int num_tokens, bool is_exact) {
  constexpr int kExactTokens = 64;
  if (is_plain_rows(matrix.layout) || num_tokens <= kFewTokens || !takes_hopper_kernels())
    return RowForm::kPlain;
  const bool widens =
      matrix.layout == MatrixLayout::kFp8 && (is_exact || num_tokens <= kExactTokens);
  return widens ? RowForm::kWidened : RowForm::kDealt;
}

bool can_make_row(const MatrixView& matrix, int num_tokens, const RowSource& source) {
  constexpr int kMostCodes = 16384;  // every block makes all of the row
  constexpr int kMostHalves = 8192;  // in its registers
  // int4: see linear_groups.cuh.
  if (is_plain_rows(matrix.layout) || matrix.layout == MatrixLayout::kInt4 ||
      matrix.columns % 4 != 0)
    return false;
  if (num_tokens != 1) return false;
  if (!is_coded(matrix.layout)) return matrix.padded_columns <= kMostHalves;
  return matrix.padded_columns <= kMostCodes &&
         (source.norm == nullptr || source.traits.squares != nullptr);
}

bool leaves_normed_rows(const MatrixView& matrix, int num_tokens, bool is_exact) {
  // Other kernels finish one row, or don't read what they add to.
  const bool is_dealt = row_form(matrix, num_tokens, is_exact) == RowForm::kDealt;
  const int most = is_dealt ? kMostNormedTokens : kFewTokens;
  const bool can_leave = defers_norm(matrix.layout) ||
                         (matrix.layout == MatrixLayout::kFp8 && num_tokens <= kFewTokens);
  return can_leave && matrix.rows % 64 == 0 && num_tokens > 1 && num_tokens <= most;
}

bool codes_rows(const MatrixView& matrix, int num_tokens) {
  // Others have no instruction that makes E4M3 codes.
  return matrix.layout == MatrixLayout::kFp8 && num_tokens > 1 && num_tokens <= kMostCodedTokens &&
         takes_hopper_kernels();
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
