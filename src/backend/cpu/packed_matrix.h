#pragma once
// Weight matrices and vectors in the layout that the CPU kernels stream.
#include "backend/backend.h"
#include "backend/cpu/kernel_table.h"
#include "base/huge_buffer.h"
#include "base/thread_pool.h"

namespace iol::cpu {

/// A matrix [N, K] in panels of 64 rows of W: [ceil(N / 64)][K / step][64][step], where step is
/// what a dot-product instruction multiplies along K: 2 for bf16, 4 for int8, otherwise 1. Padding
/// is zero.
class PackedMatrix final : public WeightMatrix {
 public:
  /// Converts to `dtype` (f32, f16 or bf16), or quantizes to source.format, on the way, with all
  /// threads.
  PackedMatrix(const StackedMatrix& source, DType dtype, ThreadPool& threads);

  [[nodiscard]] std::int64_t num_rows() const override { return num_rows_; }
  [[nodiscard]] std::int64_t num_columns() const override { return num_columns_; }
  [[nodiscard]] DType dtype() const override { return dtype_; }
  [[nodiscard]] std::size_t size_bytes() const override {
    return buffer_.size_bytes() + 4 * (scales_.size() + offsets_.size());
  }

  [[nodiscard]] const std::byte* data() const { return buffer_.data(); }
  [[nodiscard]] Element element() const;
  [[nodiscard]] std::int64_t num_panels() const {
    return (num_rows_ + kPanelColumns - 1) / kPanelColumns;
  }
  /// K rounded up to what a step takes.
  [[nodiscard]] std::int64_t padded_columns() const { return padded_columns_; }

  [[nodiscard]] bool is_int8() const { return dtype_ == DType::kI8; }
  /// [panels * 64], int8 only: what a row's integers are multiplied with, and -128 times their sum.
  [[nodiscard]] const float* scales() const { return scales_.data(); }
  [[nodiscard]] const std::int32_t* offsets() const { return offsets_.data(); }

  /// out[k] = W[row][k] as f32, for k in [0, K).
  void copy_row(std::int64_t row, float* out) const;

 private:
  [[nodiscard]] std::int64_t step() const;
  /// Calls write(row, values, first element of the row in its panel) for every row that is not
  /// padding; `values` is f32 [K].
  template <class Destination, class Write>
  void pack_rows(const StackedMatrix& source, ThreadPool& threads, Write write);
  template <class Destination, class Convert>
  void pack(const StackedMatrix& source, ThreadPool& threads, Convert convert);
  void pack_int8(const StackedMatrix& source, ThreadPool& threads);

  DType dtype_;
  std::int64_t num_rows_ = 0;
  std::int64_t num_columns_ = 0;
  std::int64_t padded_columns_ = 0;
  HugeBuffer buffer_;
  std::vector<float> scales_;
  std::vector<std::int32_t> offsets_;
};

/// f32 [N], zero-padded to whole panels.
class PackedVector final : public WeightVector {
 public:
  explicit PackedVector(const StackedMatrix& source);
  [[nodiscard]] std::int64_t size() const override { return size_; }
  [[nodiscard]] const float* data() const { return values_.data(); }

 private:
  std::int64_t size_ = 0;
  std::vector<float> values_;
};

/// The kernels' name of a dtype; throws InputError for one that the CPU kernels don't have.
Element element_of(DType dtype);

}  // namespace iol::cpu
