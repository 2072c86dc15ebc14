#pragma once
// A row made by a kernel of its own: what kernels that make their rows are compared with.
#include <array>

#include "backend/cuda/device_memory.h"
#include "backend/cuda/kernels/kernels.h"

namespace iol::cuda {

/// Of matrices whose products of one token can make its row.
inline constexpr std::array kLayoutsOfMadeRows = {MatrixLayout::kBf16,    MatrixLayout::kF16,
                                                  MatrixLayout::kInt8,    MatrixLayout::kInt8Bf16,
                                                  MatrixLayout::kInt8F16, MatrixLayout::kFp8};

class PreparedRow {
 public:
  PreparedRow(const RowSource& source, const MatrixView& matrix, const Stream& stream)
      : values_(static_cast<std::size_t>(matrix.padded_columns) * 2, "a row"),
        scales_(4, "its scale") {
    PrepareTask prepare;
    prepare.source = source;
    prepare.num_rows = 1;
    prepare.matrix = matrix;
    prepare.out.values = values_.data();
    prepare.out.scales = scales_.as<float>();
    prepare_rows(prepare, stream.get());
    rows_ = prepare.out;
  }
  [[nodiscard]] const OperandRows& rows() const { return rows_; }

 private:
  DeviceBuffer values_, scales_;
  OperandRows rows_;
};

}  // namespace iol::cuda
