#include "backend/cuda/kernels/chain.h"

#include <algorithm>

#include "backend/cuda/kernels/kernel_level.h"
#include "base/error.h"

namespace iol::cuda {
namespace {

int num_units(const LinearTask& product) {
  return product.matrix.rows / (product.epilogue == Epilogue::kSwiGlu ? 2 * kTileRows : kTileRows);
}
/// The row is an operand that nothing remains to be done with.
bool is_operand(const OperandRows& x) { return x.form == RowForm::kPlain && x.scales == nullptr; }

}  // namespace

bool chains_make_row(const MatrixView& matrix, int num_tokens) {
  constexpr int kGroup = 128;  // what a warp makes at a time
  return matrix.layout == MatrixLayout::kInt4 && num_tokens == 1 && takes_hopper_kernels() &&
         matrix.group_size == kGroup && matrix.columns == matrix.num_groups * kGroup &&
         matrix.input_order == nullptr;
}

bool can_be_link(const LinearTask& product, bool is_first) {
  constexpr int kMostColumns = 29696;  // a row of 16-bit numbers beside what is on its way
  const MatrixView& matrix = product.matrix;
  if (product.num_tokens != 1 || !takes_hopper_kernels()) return false;
  if (is_plain_rows(matrix.layout)) return false;
  if (matrix.layout == MatrixLayout::kInt4 && !chains_make_row(matrix, 1)) return false;
  if (matrix.columns % 4 != 0 || matrix.padded_columns > kMostColumns) return false;
  if (product.epilogue == Epilogue::kLogits || product.out_run != 0) return false;
  if (product.x.form == RowForm::kUnmade && product.x.source.norm != nullptr)
    return !is_first && matrix.padded_columns <= kMostNormedColumns;
  if (product.x.form == RowForm::kUnmade) return true;
  return is_operand(product.x) && !is_coded(matrix.layout) && matrix.layout != MatrixLayout::kInt4;
}

bool are_linked(const LinearTask& product, const LinearTask& next) {
  const void* x = next.x.form == RowForm::kUnmade ? next.x.source.x : next.x.values;
  return x == product.out && next.matrix.layout == product.matrix.layout;
}

std::int64_t weight_bytes(const ChainTask& task) {
  std::int64_t bytes = 0;
  for (int l = 0; l < task.num_links; ++l) {
    const MatrixView& matrix = task.links[l].matrix;
    const int block_bytes = matrix.layout == MatrixLayout::kInt4 ? 32 : 64;  // of a row
    bytes += std::int64_t{matrix.rows} * num_blocks(matrix) * block_bytes;
  }
  return bytes;
}

int chain_blocks(const ChainTask& task) {
  const int most = std::min(multiprocessors(), kMostChainBlocks);
  int least = 1;
  for (int l = 0; l < task.num_links; ++l) {
    const int units = num_units(task.links[l]);
    const int turns = (units + most - 1) / most;
    least = std::max(least, (units + turns - 1) / turns);
  }
  return least;
}

void linear_chain(const ChainTask& task, StreamHandle stream) {
  switch (task.links[0].matrix.layout) {
    case MatrixLayout::kBf16:
      return chain_bf16(task, stream);
    case MatrixLayout::kF16:
      return chain_f16(task, stream);
    case MatrixLayout::kInt8:
      return chain_int8(task, stream);
    case MatrixLayout::kInt8Bf16:
    case MatrixLayout::kInt8F16:
      return chain_int8_weights(task, stream);
    case MatrixLayout::kFp8:
      return chain_fp8(task, stream);
    case MatrixLayout::kInt4:
      return chain_int4(task, stream);
    default:
      IOL_CHECK(false);  // can_be_link()
  }
}

}  // namespace iol::cuda
