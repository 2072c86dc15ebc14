// hidden = table[token_ids], and the step's rotation angles in f32 as the CPU backend computes
// them:
//   angle = position * inv_freq; cosine = cos(angle) * factor, sine = sin(angle) * factor
#include "backend/cuda/kernels/launch.cuh"
#include "backend/cuda/kernels/number.cuh"

namespace iol::cuda {
namespace {

/// Element (row, column) of a matrix as f32; `column` counts stored columns.
__device__ float element_at(const MatrixView& matrix, int row, int column) {
  const int padded = padded_column(matrix, column);
  const auto* p =
      static_cast<const std::uint8_t*>(matrix.data) + element_offset(matrix, row, padded);
  switch (matrix.layout) {
    case MatrixLayout::kF32Rows:
      return *reinterpret_cast<const float*>(p);
    case MatrixLayout::kBf16:
      return bf16_value(*reinterpret_cast<const std::uint16_t*>(p));
    case MatrixLayout::kF16:
      return f16_value(*reinterpret_cast<const std::uint16_t*>(p));
    case MatrixLayout::kFp8:
      return e4m3_value(*p) * matrix.scales[row];
    case MatrixLayout::kInt4: {
      const std::int64_t at = (static_cast<std::int64_t>(row / kTileRows) * matrix.num_groups +
                               column / matrix.group_size) *
                                  kTileRows +
                              row % kTileRows;
      const int code = *p >> int4_shift(padded) & 15;
      return static_cast<float>(code - int{matrix.zeros[at]}) * matrix.scales[at];
    }
    default:
      return static_cast<float>(static_cast<std::int8_t>(*p)) * matrix.scales[row];
  }
}

__global__ void embed_kernel(EmbedTask task) {
  // In this order: kernels behind read the step's input before they wait, see step_copies.cu.
  wait_for_previous();
  let_next_start();
  const int t = blockIdx.x;
  int token = task.token_ids[t];
  if (token < 0)  // a row without a token gets any
    token = max(static_cast<int>(~static_cast<std::uint32_t>(task.best[-1 - token])), 0);
  float* hidden = task.hidden + static_cast<std::int64_t>(t) * task.table.columns;
  for (int k = threadIdx.x; k < task.table.columns; k += blockDim.x) {
    const int column = task.table.input_order != nullptr ? task.table.input_order[k] : k;
    hidden[column] = element_at(task.table, token, k);
  }
  if (task.squares != nullptr) {
    for (int i = threadIdx.x; i < task.num_squares; i += blockDim.x)
      task.squares[i * kMostNormedTokens + t] = 0;
  }
  if (task.largest != nullptr && t < kMostCodedTokens) {
    for (int i = threadIdx.x; i < task.num_largest; i += blockDim.x)
      task.largest[i * kMostCodedTokens + t] = 0;
  }
  const auto position = static_cast<float>(task.positions[t]);
  for (int i = threadIdx.x; i < task.half_dim; i += blockDim.x) {
    const auto angle = static_cast<double>(__fmul_rn(position, task.inv_freq[i]));
    const std::int64_t at = static_cast<std::int64_t>(t) * task.half_dim + i;
    task.cosine[at] = static_cast<float>(cos(angle)) * task.attention_factor;
    task.sine[at] = static_cast<float>(sin(angle)) * task.attention_factor;
  }
}

}  // namespace

void embed(const EmbedTask& task, StreamHandle stream) {
  launch_kernel(embed_kernel, dim3(task.num_tokens), 256, 0, stream, task);
}

}  // namespace iol::cuda
