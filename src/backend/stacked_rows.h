#pragma once
// Which row of which part each row of a stacked matrix is.
#include <cstdint>

#include "backend/backend.h"

namespace iol {

/// Interleaved parts alternate in blocks of so many rows, each padded to whole blocks.
inline constexpr std::int64_t kInterleavedRows = 16;

/// Rows of the stacked matrix, those that pad interleaved parts included.
std::int64_t stacked_rows(const StackedMatrix& source);

/// Where row `row` of part `part` goes; `base` is where a concatenated part begins.
std::int64_t stacked_row(const StackedMatrix& source, int part, std::int64_t base,
                         std::int64_t row);

/// The part and the row in it that a stacked row comes from; padding when the part is shorter.
struct RowOrigin {
  const HostTensor* part;
  std::int64_t row;
  [[nodiscard]] bool is_padding() const { return row >= part->shape[0]; }
};

/// The inverse of stacked_row().
RowOrigin origin_of(const StackedMatrix& source, std::int64_t row);

/// A stack of vectors [rows_i] as one of matrices [rows_i, 1].
StackedMatrix as_matrices(const StackedMatrix& vectors);

}  // namespace iol
