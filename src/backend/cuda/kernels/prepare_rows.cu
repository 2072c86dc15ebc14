// Left operands of a matrix: RMSNorm where it is wanted, then the form that the matrix multiplies
// (operand_rows.cuh). E4M3 codes may be written as f16; int4 matrices take int8 codes with a scale
// for each of their groups, and the sum of the group's codes. One block of threads for each row,
// which its threads hold in registers, four neighbours at a time; padding becomes zero.
#include "backend/cuda/kernels/launch.cuh"
#include "backend/cuda/kernels/operand_rows.cuh"

namespace iol::cuda {
namespace {

constexpr int kThreads = kRowThreads;

/// Columns 4 (t + j kThreads) .. + 3 of the row belong to thread t.
template <int kFours>
using Row = float4[kFours];

__device__ __forceinline__ int first_column(int j) {
  return 4 * (static_cast<int>(threadIdx.x) + j * kThreads);
}

/// row *= 1 / sqrt(mean(row^2) + eps) * weight
template <int kFours>
__device__ __forceinline__ void normalize(Row<kFours>& row, const Row<kFours>& weight, int size,
                                          double eps) {
  __shared__ float sums[kRowWarps];
  float squares = 0;
#pragma unroll
  for (int j = 0; j < kFours; ++j) squares = add_squares(squares, row[j]);
  squares = warp_sum(squares);
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = squares;
  __syncthreads();
  const float factor = norm_factor(sums, size, eps);
#pragma unroll
  for (int j = 0; j < kFours; ++j) row[j] = normalized(row[j], factor, weight[j]);
}

/// Two 16-bit numbers, then two more, from element `column` of a dealt or plain row on.
__device__ __forceinline__ void store_pairs(void* row, int column, int run, std::uint32_t first,
                                            std::uint32_t second) {
  auto* pairs = static_cast<std::uint32_t*>(row);
  pairs[dealt_column(column, 2, run) / 2] = first;
  pairs[dealt_column(column + 2, 2, run) / 2] = second;
}

template <int kFours>
__device__ __forceinline__ void write_codes(const PrepareTask& task, const Row<kFours>& row) {
  __shared__ float scratch[kThreads / 32];
  const int padded = task.matrix.padded_columns;
  const bool is_widened = task.out.form == RowForm::kWidened;
  float largest = 0;
#pragma unroll
  for (int j = 0; j < kFours; ++j) largest = fmaxf(largest, largest_of(row[j]));
  largest = block_max<kThreads>(largest, scratch);
  const RowCoder coder(task.matrix.layout == MatrixLayout::kInt8, largest);
  const int run = run_pieces(task.matrix.layout, task.out.form);
  auto* out = static_cast<std::byte*>(task.out.values) +
              static_cast<std::int64_t>(blockIdx.x) * padded * (is_widened ? 2 : 1);
#pragma unroll
  for (int j = 0; j < kFours; ++j) {
    const int column = first_column(j);
    if (column >= padded) break;
    const std::uint32_t codes = coder.codes(row[j]);
    if (is_widened) {
      std::uint32_t low, high;
      e4m3_to_f16(codes, low, high);
      store_pairs(out, column, run, low, high);
    } else {
      *reinterpret_cast<std::uint32_t*>(out + dealt_column(column, 1, run)) = codes;
    }
  }
  if (threadIdx.x == 0) task.out.scales[blockIdx.x] = coder.scale();
}

/// A warp for each group; the row goes through shared memory, since groups may take their columns
/// from anywhere.
template <int kFours>
__device__ __forceinline__ void write_groups(const PrepareTask& task, const Row<kFours>& in) {
  extern __shared__ float row[];  // [K]
  const MatrixView& matrix = task.matrix;
#pragma unroll
  for (int j = 0; j < kFours; ++j) {
    const int column = first_column(j);
    if (column < matrix.columns) *reinterpret_cast<float4*>(row + column) = in[j];
  }
  __syncthreads();
  const int lane = threadIdx.x % 32;
  auto* codes = static_cast<std::int8_t*>(task.out.values) +
                static_cast<std::int64_t>(blockIdx.x) * matrix.padded_columns;
  const auto value_at = [&](int column) {
    return row[matrix.input_order != nullptr ? matrix.input_order[column] : column];
  };
  for (int group = threadIdx.x / 32; group < matrix.num_groups; group += kThreads / 32) {
    const int first = group * matrix.group_size;
    float largest = 0;
    for (int i = lane; i < matrix.group_size; i += 32)
      largest = fmaxf(largest, fabsf(value_at(first + i)));
    largest = warp_max(largest);
    const float inverse = reciprocal_scale(127.0F, largest, kLeastMagnitude);
    int sum = 0;
    for (int i = lane; i < matrix.padded_group; i += 32) {
      const int code = i < matrix.group_size
                           ? __float2int_rn(scaled_within(value_at(first + i), inverse, 127.0F))
                           : 0;
      codes[group * matrix.padded_group + i] = static_cast<std::int8_t>(code);
      sum += code;
    }
    sum = warp_sum(sum);
    if (lane == 0) {
      const std::int64_t at = static_cast<std::int64_t>(blockIdx.x) * matrix.num_groups + group;
      task.out.scales[at] = __fdiv_rn(largest, 127.0F);
      task.out.sums[at] = sum;
    }
  }
  for (int i = matrix.num_groups * matrix.padded_group + threadIdx.x; i < matrix.padded_columns;
       i += kThreads)
    codes[i] = 0;
}

template <int kFours>
__device__ __forceinline__ void write_numbers(const PrepareTask& task, const Row<kFours>& row) {
  const int padded = task.matrix.padded_columns;
  const std::int64_t base = static_cast<std::int64_t>(blockIdx.x) * padded;
  const MatrixLayout layout = task.matrix.layout;
  const bool is_bf16 = layout == MatrixLayout::kBf16 || layout == MatrixLayout::kInt8Bf16;
  const int run = run_pieces(layout, task.out.form);
#pragma unroll
  for (int j = 0; j < kFours; ++j) {
    const int column = first_column(j);
    if (column >= padded) break;
    const float value[4] = {row[j].x, row[j].y, row[j].z, row[j].w};
    if (is_plain_rows(layout)) {
      for (int i = 0; i < 4 && column + i < padded; ++i)
        static_cast<float*>(task.out.values)[base + column + i] = value[i];
    } else {
      void* out = static_cast<std::uint16_t*>(task.out.values) + base;
      is_bf16 ? store_pairs(out, column, run, to_bf16_pair(value[0], value[1]),
                            to_bf16_pair(value[2], value[3]))
              : store_pairs(out, column, run, to_f16_pair(value[0], value[1]),
                            to_f16_pair(value[2], value[3]));
    }
  }
}

template <int kFours>
__global__ void __launch_bounds__(kThreads) prepare_kernel(PrepareTask task) {
  let_next_start();
  const int size = task.matrix.columns;
  Row<kFours> weight;
  const RowSource& from = task.source;
  if (from.norm != nullptr) {
#pragma unroll
    for (int j = 0; j < kFours; ++j)
      weight[j] = load_four(from.norm, Element::kF32, 0, first_column(j), size);
  }
  wait_for_previous();
  if (task.best != nullptr && threadIdx.x == 0) task.best[blockIdx.x] = 0;
  const int source = task.row_index != nullptr ? task.row_index[blockIdx.x] : blockIdx.x;
  const std::int64_t base = static_cast<std::int64_t>(source) * from.stride;
  Row<kFours> row;
#pragma unroll
  for (int j = 0; j < kFours; ++j)
    row[j] = load_four(from.x, from.element, base, first_column(j), size);
  if (from.norm != nullptr) normalize<kFours>(row, weight, size, from.eps);
  switch (task.matrix.layout) {
    case MatrixLayout::kInt8:
    case MatrixLayout::kFp8:
      return write_codes<kFours>(task, row);
    case MatrixLayout::kInt4:
      return write_groups<kFours>(task, row);
    default:
      return write_numbers<kFours>(task, row);
  }
}

template <int kFours>
void launch(const PrepareTask& task, StreamHandle stream) {
  auto* kernel = prepare_kernel<kFours>;
  // Whole fours; only groups need them.
  const int shared_bytes =
      task.matrix.layout == MatrixLayout::kInt4 ? (task.matrix.columns + 3) / 4 * 16 : 0;
  if (shared_bytes > 48 * 1024)
    cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes);
  launch_kernel(kernel, dim3(task.num_rows), kThreads, shared_bytes, stream, task);
}

}  // namespace

void prepare_rows(const PrepareTask& task, StreamHandle stream) {
  const MatrixView& matrix = task.matrix;
  const int size = matrix.layout == MatrixLayout::kInt4 ? matrix.columns : matrix.padded_columns;
  const int fours = (size + 4 * kThreads - 1) / (4 * kThreads);
  if (fours <= 1) return launch<1>(task, stream);
  if (fours <= 2) return launch<2>(task, stream);
  if (fours <= 4) return launch<4>(task, stream);
  if (fours <= 8) return launch<8>(task, stream);
  static_assert(kMostPreparedColumns == 16 * 4 * kThreads);
  launch<16>(task, stream);
}

}  // namespace iol::cuda
