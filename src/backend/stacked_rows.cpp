#include "backend/stacked_rows.h"

#include "base/error.h"

namespace iol {

std::int64_t stacked_rows(const StackedMatrix& source) {
  IOL_CHECK(!source.parts.empty());
  if (source.stacking == Stacking::kInterleaved) {
    const std::int64_t blocks =
        (source.parts[0].shape[0] + kInterleavedRows - 1) / kInterleavedRows;
    return blocks * kInterleavedRows * static_cast<std::int64_t>(source.parts.size());
  }
  std::int64_t rows = 0;
  for (const auto& part : source.parts) rows += part.shape[0];
  return rows;
}

std::int64_t stacked_row(const StackedMatrix& source, int part, std::int64_t base,
                         std::int64_t row) {
  if (source.stacking == Stacking::kConcatenated) return base + row;
  const auto num_parts = static_cast<std::int64_t>(source.parts.size());
  return (row / kInterleavedRows * num_parts + part) * kInterleavedRows + row % kInterleavedRows;
}

RowOrigin origin_of(const StackedMatrix& source, std::int64_t row) {
  if (source.stacking == Stacking::kInterleaved) {
    const auto num_parts = static_cast<std::int64_t>(source.parts.size());
    const std::int64_t block = row / kInterleavedRows;
    return {&source.parts[static_cast<std::size_t>(block % num_parts)],
            block / num_parts * kInterleavedRows + row % kInterleavedRows};
  }
  for (const auto& part : source.parts) {
    if (row < part.shape[0]) return {&part, row};
    row -= part.shape[0];
  }
  IOL_CHECK(!"row outside the stacked matrix");
}

StackedMatrix as_matrices(const StackedMatrix& vectors) {
  StackedMatrix matrices = vectors;
  for (auto& part : matrices.parts) {
    IOL_CHECK(part.shape.size() == 1);
    part.shape.push_back(1);
  }
  return matrices;
}

}  // namespace iol
