#pragma once
// Weight matrices and vectors in the layout that the CPU kernels stream.
#include "backend/backend.h"
#include "backend/cpu/kernel_table.h"
#include "backend/quantize_row.h"
#include "base/huge_buffer.h"
#include "base/thread_pool.h"

namespace iol::cpu {

/// A matrix [N, K] in panels of 64 rows of W, in the order in which the kernels stream it; padding
/// is zero.
///
///   f32, f16              [N / 64][K][64]
///   bf16                  [N / 64][K / 2][64][2]       pairs, as a dot-product instruction takes
///   int8, int8-wo, fp8    [N / 64][K / 4][64][4]       one byte each; f32 scales [N] apart
///   int4                  [N / 64][K / group] of { f32 scales [64], u8 zeros [64],
///                         [group / 8][64][4] bytes: k in the low half, k + 4 in the high half }
class PackedMatrix final : public WeightMatrix {
 public:
  /// Converts to `dtype` (f32, f16 or bf16), or quantizes to source.format, on the way, with all
  /// threads. Throws InputError when a weight to be quantized is NaN or infinite.
  PackedMatrix(const StackedMatrix& source, DType dtype, ThreadPool& threads);

  [[nodiscard]] std::int64_t num_rows() const override { return num_rows_; }
  [[nodiscard]] std::int64_t num_columns() const override { return num_columns_; }
  [[nodiscard]] WeightFormat format() const { return format_; }
  [[nodiscard]] DType dtype() const override;
  [[nodiscard]] std::size_t size_bytes() const override {
    return buffer_.size_bytes() + 4 * (scales_.size() + offsets_.size() + input_order_.size());
  }

  [[nodiscard]] const std::byte* data() const { return buffer_.data(); }
  [[nodiscard]] Element element() const;
  [[nodiscard]] std::int64_t num_panels() const {
    return (num_rows_ + kPanelColumns - 1) / kPanelColumns;
  }
  /// K rounded up to what a step takes.
  [[nodiscard]] std::int64_t padded_columns() const { return padded_columns_; }
  /// Columns that share a scale; K where formats are not grouped.
  [[nodiscard]] std::int64_t group_size() const { return group_size_; }

  /// [panels * 64] of int8, int8-wo and fp8: what a row's sums are multiplied with.
  [[nodiscard]] const float* scales() const { return scales_.data(); }
  /// [panels * 64] of int8: -128 times the sum of a row's integers.
  [[nodiscard]] const std::int32_t* offsets() const { return offsets_.data(); }
  /// [K] or null: packed column j multiplies input input_order[j].
  [[nodiscard]] const std::int32_t* input_order() const {
    return input_order_.empty() ? nullptr : input_order_.data();
  }

  /// out[k] = W[row][k] as f32, for k in [0, K).
  void copy_row(std::int64_t row, float* out) const;

 private:
  [[nodiscard]] std::int64_t step() const;
  [[nodiscard]] std::size_t packed_bytes() const;
  /// Calls write(row, its origin) for every row that is not padding, on all threads.
  template <class Write>
  void for_each_row(const StackedMatrix& source, ThreadPool& threads, Write write);
  template <class Destination, class Convert>
  void pack_plain(const StackedMatrix& source, ThreadPool& threads, Convert convert);
  void pack_quantized(const StackedMatrix& source, ThreadPool& threads);
  void write_bytes(std::int64_t row, const QuantizedRow& quantized);
  void write_int4(std::int64_t row, const QuantizedRow& quantized);
  [[nodiscard]] QuantizedRow quantized_row(std::int64_t row) const;
  /// Where group g of the panel of `row` begins.
  [[nodiscard]] const std::byte* int4_group(std::int64_t row, std::int64_t group) const;

  DType dtype_;
  WeightFormat format_;
  std::int64_t num_rows_ = 0;
  std::int64_t num_columns_ = 0;
  std::int64_t padded_columns_ = 0;
  std::int64_t group_size_ = 0;
  HugeBuffer buffer_;
  std::vector<float> scales_;
  std::vector<std::int32_t> offsets_;
  std::vector<std::int32_t> input_order_;
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
