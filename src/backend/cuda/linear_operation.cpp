#include "backend/cuda/linear_operation.h"

#include <cmath>

#include "backend/cuda/cuda_error.h"
#include "backend/read_elements.h"

namespace iol::cuda {
namespace {

/// Nothing remains to be done with results that are its own operand.
bool takes_rows_directly(const MatrixView& matrix) {
  return !is_coded(matrix.layout) && matrix.layout != MatrixLayout::kInt4 &&
         matrix.padded_columns == matrix.columns;
}
/// Bytes of a left operand's row, in its widest form.
std::size_t operand_bytes(const MatrixView& matrix) {
  const auto columns = static_cast<std::size_t>(matrix.padded_columns);
  if (matrix.layout == MatrixLayout::kInt4) return columns;
  return columns * (is_plain_rows(matrix.layout) ? 4 : 2);
}
/// Of rows that `matrix` multiplies as they are; else f32.
Element operand_element(const MatrixView& matrix) {
  if (!takes_rows_directly(matrix) || is_plain_rows(matrix.layout)) return Element::kF32;
  return matrix.layout == MatrixLayout::kBf16 || matrix.layout == MatrixLayout::kInt8Bf16
             ? Element::kBf16
             : Element::kF16;
}

}  // namespace

Element LinearOperation::result_element(const MatrixView& matrix, int num_tokens) const {
  // For an instruction that keeps fewer bits of its sums, half the bytes: E4M3 codes, which have
  // three bits, are made of them.
  if (matrix.layout == MatrixLayout::kFp8 && form(matrix, num_tokens) == RowForm::kDealt)
    return Element::kBf16;
  return operand_element(matrix);
}

RowForm LinearOperation::form(const MatrixView& matrix, int num_rows) const {
  return observer_ != nullptr ? RowForm::kPlain : row_form(matrix, num_rows, deterministic_);
}

int LinearOperation::result_run(const MatrixView& matrix, Element element, int num_tokens) const {
  const bool is_operand = takes_rows_directly(matrix) && element == operand_element(matrix);
  return is_operand ? run_pieces(matrix.layout, form(matrix, num_tokens)) : 0;
}

bool LinearOperation::codes_rows(const MatrixView& matrix, int num_tokens) const {
  return observer_ == nullptr && matrix.padded_columns == matrix.columns &&
         cuda::codes_rows(matrix, num_tokens);
}

NormedRows LinearOperation::rows_to_leave(CudaActivations& a, const MatrixView& matrix,
                                          const MatrixView& next, int num_tokens) const {
  const bool is_operand = (defers_norm(next.layout) || codes_rows(next, num_tokens)) &&
                          next.padded_columns == next.columns && next.columns == matrix.rows;
  if (!is_operand || !leaves_rows(matrix, num_tokens)) return {};
  return {a.left_rows, a.next_squares(), run_pieces(next.layout, form(next, num_tokens))};
}

std::optional<OperandRows> LinearOperation::rows_left(const MatrixView& matrix,
                                                      const NormedRows& left,
                                                      const std::uint32_t* largest,
                                                      const RowSource& source,
                                                      int num_tokens) const {
  const RowForm rows_form = form(matrix, num_tokens);
  const bool is_operand =
      largest != nullptr ? codes_rows(matrix, num_tokens) : defers_norm(matrix.layout);
  if (left.values == nullptr || observer_ != nullptr || !is_operand ||
      matrix.columns != source.stride || matrix.padded_columns != source.stride ||
      left.run != run_pieces(matrix.layout, rows_form))
    return {};
  return OperandRows{.values = left.values,
                     .squares = left.squares,
                     .eps = static_cast<float>(source.eps),
                     .largest = largest,
                     .form = rows_form,
                     .source = {}};
}

OperandRows LinearOperation::prepare(CudaActivations& a, const MatrixView& matrix,
                                     const RowSource& source, int num_rows,
                                     const std::int32_t* row_index, unsigned long long* best) {
  if (matrix.columns > kMostPreparedColumns)
    throw_input_error("the CUDA backend multiplies rows of at most {} numbers, not of {}",
                      kMostPreparedColumns, matrix.columns);
  IOL_CHECK(operand_bytes(matrix) <= a.operand_row_bytes);
  const bool may_be_unmade = observer_ == nullptr && row_index == nullptr && best == nullptr;
  if (may_be_unmade && can_make_row(matrix, num_rows, source))
    return {.form = RowForm::kUnmade, .source = source};
  if (may_be_unmade && chain_.makes_row(matrix, num_rows))
    return {.values = a.operand.values,
            .scales = a.operand.scales,
            .sums = a.operand.sums,
            .form = RowForm::kUnmade,
            .source = source};
  flush();
  PrepareTask task;
  task.source = source;
  task.row_index = row_index;
  task.num_rows = num_rows;
  task.matrix = matrix;
  task.out = a.operand;
  task.out.form = form(matrix, num_rows);
  // Large steps have bits of their own anyway, and products that are faster without a factor.
  const bool applies_factor =
      !deterministic_ && num_rows > kMostNormedTokens && task.out.form == RowForm::kDealt;
  if (source.norm == nullptr || !defers_norm(matrix.layout) || applies_factor)
    task.out.squares = nullptr;
  task.out.eps = static_cast<float>(source.eps);
  task.best = best;
  prepare_rows(task, stream_->get());
  check_launch("preparing rows");
  return task.out;
}

OperandRows LinearOperation::rows_from(CudaActivations& a, const MatrixView& matrix, void* x,
                                       Element element, int num_rows, const RowTraits& traits,
                                       const std::uint32_t* largest) {
  if (largest != nullptr && num_rows > 1)
    return {.values = x, .largest = largest, .form = RowForm::kPlain, .source = {}};
  const RowSource source = {x, element, matrix.columns, nullptr, 0, traits};
  const bool is_operand = takes_rows_directly(matrix) && element == operand_element(matrix);
  if (!is_operand) return prepare(a, matrix, source, num_rows);
  return {.values = x, .form = form(matrix, num_rows), .source = {}};
}

void LinearOperation::multiply(CudaActivations& a, const CudaMatrix& matrix, LinearTask& task,
                               const OperandRows& x, int num_tokens) {
  task.exchange = a.exchange;
  task.matrix = matrix.view();
  task.x = x;
  task.num_tokens = num_tokens;
  task.is_exact = deterministic_;
  if (observer_ != nullptr && matrix.format() == WeightFormat::kNone) {
    flush();
    show_observer(matrix, x, num_tokens);
  }
  chain_.multiply(task);
}

void LinearOperation::show_observer(const CudaMatrix& matrix, const OperandRows& x,
                                    int num_tokens) const {
  const MatrixView& view = matrix.view();
  const auto stride = static_cast<std::size_t>(view.padded_columns);
  std::vector<std::byte> rows(static_cast<std::size_t>(num_tokens) * stride * dtype_bytes(dtype_));
  stream_->synchronize("computing what a matrix is multiplied with");
  check(cudaMemcpy(rows.data(), x.values, rows.size(), cudaMemcpyDeviceToHost),
        "reading what a matrix is multiplied with");
  std::vector<SquareSum> squares(x.squares != nullptr ? static_cast<std::size_t>(num_tokens) : 0);
  check(cudaMemcpy(squares.data(), x.squares, squares.size() * sizeof(SquareSum),
                   cudaMemcpyDeviceToHost),
        "reading the squares of rows");
  HostTensor tensor;
  tensor.data = rows.data();
  tensor.dtype = dtype_;
  std::vector<float> row(static_cast<std::size_t>(view.columns));
  for (int token = 0; token < num_tokens; ++token) {
    read_elements(tensor, token * static_cast<std::int64_t>(stride), row);
    if (!squares.empty()) {
      const double mean = static_cast<double>(squares[static_cast<std::size_t>(token)]) *
                          kSquareUnit / static_cast<double>(view.columns);
      const auto factor = static_cast<float>(1 / std::sqrt(mean + static_cast<double>(x.eps)));
      for (float& number : row) number *= factor;
    }
    observer_->observe(matrix, row);
  }
}

}  // namespace iol::cuda
