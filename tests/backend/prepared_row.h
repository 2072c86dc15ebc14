#pragma once
// A row made by a kernel of its own: what kernels that make their rows are compared with.
#include <algorithm>
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
        squares_(sizeof(SquareSum), "its squares"),
        scales_(most_groups(matrix) * 4, "its scales"),
        sums_(most_groups(matrix) * 4, "its sums") {
    PrepareTask prepare;
    prepare.source = source;
    prepare.num_rows = 1;
    prepare.matrix = matrix;
    prepare.out.values = values_.data();
    if (source.norm != nullptr && defers_norm(matrix.layout))
      prepare.out.squares = squares_.as<SquareSum>();
    prepare.out.eps = static_cast<float>(source.eps);
    prepare.out.scales = scales_.as<float>();
    prepare.out.sums = sums_.as<std::int32_t>();
    prepare_rows(prepare, stream.get());
    rows_ = prepare.out;
  }
  [[nodiscard]] const OperandRows& rows() const { return rows_; }

 private:
  static std::size_t most_groups(const MatrixView& matrix) {
    return static_cast<std::size_t>(std::max(matrix.num_groups, 1));
  }

  DeviceBuffer values_, squares_, scales_, sums_;
  OperandRows rows_;
};

}  // namespace iol::cuda
