#pragma once
// The product of a step's rows with a weight matrix: the rows are brought into the form that the
// matrix multiplies, unless the operation before has left them in it, then multiplied.
#include <cstdint>
#include <optional>

#include "backend/cuda/cuda_activations.h"
#include "backend/cuda/cuda_matrix.h"
#include "backend/cuda/device_memory.h"
#include "backend/cuda/kernels/kernels.h"
#include "backend/cuda/product_chain.h"

namespace iol::cuda {

inline const CudaMatrix& matrix_of(const WeightMatrix& matrix) {
  return static_cast<const CudaMatrix&>(matrix);
}

class LinearOperation {
 public:
  /// `stream` outlives it.
  LinearOperation(const Stream& stream, DType dtype, bool deterministic)
      : stream_(&stream), dtype_(dtype), deterministic_(deterministic), chain_(stream) {}

  /// Shows what unquantized matrices are multiplied with; null: to nobody.
  void observe(LinearInputObserver* observer) { observer_ = observer; }
  [[nodiscard]] bool is_observed() const { return observer_ != nullptr; }

  /// The element in which results are left for `matrix` to multiply: its own operand's where
  /// nothing remains to be done with them, else f32, or bf16 for instructions that lose more.
  [[nodiscard]] Element result_element(const MatrixView& matrix, int num_tokens) const;
  /// The runs in which results of that element are dealt for `matrix`, see dealt_column().
  [[nodiscard]] int result_run(const MatrixView& matrix, Element element, int num_tokens) const;
  /// Left operand rows of `matrix` from `source`.
  OperandRows prepare(CudaActivations& a, const MatrixView& matrix, const RowSource& source,
                      int num_rows, const std::int32_t* row_index = nullptr,
                      unsigned long long* best = nullptr);
  /// True when a product of `matrix` makes codes of rows that are left for it: codes_rows().
  [[nodiscard]] bool codes_rows(const MatrixView& matrix, int num_tokens) const;
  /// True when the next product's rows are left by one of `matrix`: leaves_normed_rows().
  [[nodiscard]] bool leaves_rows(const MatrixView& matrix, int num_tokens) const {
    return observer_ == nullptr && leaves_normed_rows(matrix, num_tokens, deterministic_);
  }
  /// What a product of `matrix` leaves of a residual stream of so many columns for `next`, as its
  /// left operand; without values where it can't.
  [[nodiscard]] NormedRows rows_to_leave(CudaActivations& a, const MatrixView& matrix,
                                         const MatrixView& next, int num_tokens) const;
  /// Those as the rows of `matrix` from `source`, where it multiplies them as they are; `largest`:
  /// see OperandRows, where it codes_rows().
  [[nodiscard]] std::optional<OperandRows> rows_left(const MatrixView& matrix,
                                                     const NormedRows& left,
                                                     const std::uint32_t* largest,
                                                     const RowSource& source, int num_tokens) const;
  /// The rows that `matrix` multiplies when the operation before it left its results in `x`, and
  /// `traits` or `largest` with them.
  OperandRows rows_from(CudaActivations& a, const MatrixView& matrix, void* x, Element element,
                        int num_rows, const RowTraits& traits, const std::uint32_t* largest);
  /// `task` says where results go; its matrix, rows and their number are filled in. May wait for
  /// the products that follow: what else comes behind it on the stream is begun after flush().
  void multiply(CudaActivations& a, const CudaMatrix& matrix, LinearTask& task,
                const OperandRows& x, int num_tokens);
  /// Begins what multiply() has been asked for, see ProductChain.
  bool flush() { return chain_.flush(); }
  /// Forgets it: the step has failed.
  void forget() { chain_.forget(); }

 private:
  /// How rows for `matrix` are laid out.
  [[nodiscard]] RowForm form(const MatrixView& matrix, int num_rows) const;
  void show_observer(const CudaMatrix& matrix, const OperandRows& x, int num_tokens) const;

  const Stream* stream_;
  DType dtype_;
  bool deterministic_;
  LinearInputObserver* observer_ = nullptr;
  ProductChain chain_;
};

}  // namespace iol::cuda
