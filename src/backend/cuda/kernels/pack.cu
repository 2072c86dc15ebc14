// Weights from plain rows into the order that kernels read them in (matrix_view.h).
#include "backend/cuda/kernels/kernels.h"

namespace iol::cuda {
namespace {

__device__ int stacked_row(const PackTask& task, int row) {
  if (!task.interleaved) return task.base_row + row;
  return (row / kTileRows * task.num_parts + task.part) * kTileRows + row % kTileRows;
}

__global__ void pack_kernel(PackTask task) {
  const int source_row = blockIdx.y;
  const int row = stacked_row(task, task.first_row + source_row);
  const std::int64_t source = static_cast<std::int64_t>(source_row) * task.matrix.columns;
  auto* out = static_cast<std::uint8_t*>(task.data);
  const int first = blockIdx.x * blockDim.x + threadIdx.x;
  if (task.matrix.layout == MatrixLayout::kInt4) {  // a thread makes a byte: columns k and k + 4
    const int pairs = task.matrix.columns / 2;
    if (first >= pairs) return;
    const int column = first / 4 * 8 + first % 4;
    const auto* codes = static_cast<const std::uint8_t*>(task.source) + source;
    const std::int64_t offset =
        element_offset(task.matrix, row, padded_column(task.matrix, column));
    out[offset] = static_cast<std::uint8_t>(codes[column] | codes[column + 4] << 4);
    return;
  }
  if (first >= task.matrix.columns) return;
  const std::int64_t offset = element_offset(task.matrix, row, first);
  if (task.element_bytes == 4) {
    *reinterpret_cast<float*>(out + offset) =
        static_cast<const float*>(task.source)[source + first];
  } else if (task.element_bytes == 2) {
    *reinterpret_cast<std::uint16_t*>(out + offset) =
        static_cast<const std::uint16_t*>(task.source)[source + first];
  } else {
    out[offset] = static_cast<const std::uint8_t*>(task.source)[source + first];
  }
}

}  // namespace

void pack_rows(const PackTask& task, StreamHandle stream) {
  constexpr int kThreads = 256;
  if (task.num_rows == 0) return;
  const dim3 grid((task.matrix.columns + kThreads - 1) / kThreads, task.num_rows);
  pack_kernel<<<grid, kThreads, 0, stream>>>(task);
}

}  // namespace iol::cuda
