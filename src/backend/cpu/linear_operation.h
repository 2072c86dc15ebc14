#pragma once
// The product of a step's rows with a weight matrix: rows in the form that its format asks for,
// then the kernel, shared out among threads.
#include <cstddef>
#include <cstdint>

#include "backend/backend.h"
#include "backend/cpu/cpu_activations.h"
#include "backend/cpu/kernel_table.h"
#include "backend/cpu/packed_matrix.h"
#include "base/thread_pool.h"

namespace iol::cpu {

inline std::int64_t element_bytes_of(Element element) { return element == Element::kBf16 ? 2 : 4; }
/// Elements from one row of a matrix's left operand to the next.
inline std::int64_t row_stride(std::int64_t columns, Element element) {
  const std::int64_t element_bytes = element_bytes_of(element);
  return row_stride_bytes(columns * element_bytes) / element_bytes;
}

class LinearOperation {
 public:
  /// All outlive it. `activation`: what rows are kept as where they aren't quantized.
  LinearOperation(const KernelTable& kernels, Element activation, ThreadPool& threads)
      : kernels_(&kernels), activation_(activation), threads_(&threads) {}

  /// Shows what unquantized matrices are multiplied with; null: to nobody.
  void observe(LinearInputObserver* observer) { observer_ = observer; }

  /// The element in which rows for `matrix` are computed: f32 where they are quantized next.
  [[nodiscard]] Element operand_element(const PackedMatrix& matrix) const {
    const bool is_plain =
        matrix.format() == WeightFormat::kNone || matrix.format() == WeightFormat::kInt8WeightOnly;
    return is_plain ? activation_ : Element::kF32;
  }
  /// Row `row` of the left operand of `matrix`, in the form that its format asks for.
  void quantize_row(CpuActivations& a, const PackedMatrix& matrix, std::byte* x, Element element,
                    std::int64_t row);
  /// All rows of `x`.
  void quantize(CpuActivations& a, const PackedMatrix& matrix, std::byte* x, Element element,
                std::int64_t num_tokens);
  /// The product of `matrix` and rows computed as `element` in `x`, quantized where it asks for it.
  [[nodiscard]] LinearTask task(CpuActivations& a, const PackedMatrix& matrix, const std::byte* x,
                                Element element, std::int64_t num_tokens) const;
  /// Rows of the matrix by panels, so many.
  void run(CpuActivations& a, const LinearTask& task, std::int64_t num_panels);

 private:
  void show_observer(const PackedMatrix& matrix, const std::byte* x, Element element,
                     std::int64_t num_tokens) const;

  const KernelTable* kernels_;
  Element activation_;
  ThreadPool* threads_;
  LinearInputObserver* observer_ = nullptr;
};

}  // namespace iol::cpu
