// Left operands of a matrix: RMSNorm where it is wanted, then the form that the matrix multiplies
// (operand_rows.cuh). E4M3 codes may be written as f16; int4 matrices take int8 codes with a scale
// for each of their groups, and the sum of the group's codes. One block of threads for each row,
// which its threads hold in registers, four neighbours at a time; padding becomes zero.
#include "backend/cuda/kernels/launch.cuh"
#include "backend/cuda/kernels/operand_groups.cuh"

namespace iol::cuda {
namespace {

constexpr int kThreads = 512;
constexpr int kGroupWarps = 4;  // of a block that codes groups

/// Columns 4 (t + j kThreads) .. + 3 of the row belong to thread t.
template <int kFours>
using Row = float4[kFours];

__device__ __forceinline__ int first_column(int j) {
  return 4 * (static_cast<int>(threadIdx.x) + j * kThreads);
}

/// The row of x that begins at element `base`, or a norm's weights.
template <int kFours>
__device__ __forceinline__ void load_row(const void* x, Element element, std::int64_t base,
                                         int size, Row<kFours>& row) {
  if ((base | size) % 4 == 0) {
    const void* begin = static_cast<const std::byte*>(x) + base * element_bytes(element);
    return load_fours<4 * kThreads>(begin, element, first_column(0), size, row);
  }
#pragma unroll
  for (int j = 0; j < kFours; ++j) row[j] = load_four(x, element, base, first_column(j), size);
}

template <int kFours>
__device__ __forceinline__ SquareSum row_squares(const Row<kFours>& row) {
  __shared__ SquareSum scratch[kThreads / 32];
  SquareSum own = 0;
#pragma unroll
  for (int j = 0; j < kFours; ++j) own += whole_squares(four_squares(row[j]));
  return block_sum<kThreads>(own, scratch);
}

/// Two 16-bit numbers, then two more, from element `column` of a dealt or plain row on.
__device__ __forceinline__ void store_pairs(void* row, int column, int run, std::uint32_t first,
                                            std::uint32_t second) {
  auto* pairs = static_cast<std::uint32_t*>(row);
  pairs[dealt_column(column, 2, run) / 2] = first;
  pairs[dealt_column(column + 2, 2, run) / 2] = second;
}

template <int kFours>
__device__ __forceinline__ void write_codes(const PrepareTask& task, const Row<kFours>& row,
                                            float factor) {
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
  if (threadIdx.x == 0)
    task.out.scales[blockIdx.x] =
        task.source.norm != nullptr ? __fmul_rn(coder.scale(), factor) : coder.scale();
}

/// Where codes and scales of row `token` of an int4 operand go.
struct GroupWriter {
  const PrepareTask& task;
  std::int64_t token;
  std::byte* row;
  int run;
  __device__ __forceinline__ GroupWriter(const PrepareTask& prepare, int index)
      : task(prepare), token(index) {
    row = static_cast<std::byte*>(task.out.values) + token * task.matrix.padded_columns;
    run = run_pieces(task.matrix.layout, task.out.form);
  }
  [[nodiscard]] __device__ __forceinline__ auto codes() const {
    return [this](int column, std::uint32_t four) {
      *reinterpret_cast<std::uint32_t*>(row + dealt_column(column, 1, run)) = four;
    };
  }
  [[nodiscard]] __device__ __forceinline__ auto scale() const {
    return [this](int group, float scale, int sum) {
      if (task.out.form == RowForm::kDealt) {
        task.out.scales[std::int64_t{group} * dealt_scales(task.num_rows) + token] = scale;
        return;
      }
      task.out.scales[token * task.matrix.num_groups + group] = scale;
      task.out.sums[token * task.matrix.num_groups + group] = sum;
    };
  }
};

template <int kFours>
__device__ __forceinline__ void write_groups(const PrepareTask& task, const Row<kFours>& in) {
  extern __shared__ float row[];  // [K]
  const MatrixView& matrix = task.matrix;
  const GroupWriter writer(task, blockIdx.x);
  if (has_whole_groups(matrix)) {
#pragma unroll
    for (int j = 0; j < kFours; ++j) {
      const int column = first_column(j);
      if (column < matrix.columns)  // alike for all of a warp
        code_whole_group(in[j], column, writer.codes(), writer.scale());
    }
    return;
  }
#pragma unroll
  for (int j = 0; j < kFours; ++j) {
    const int column = first_column(j);
    if (column < matrix.columns) *reinterpret_cast<float4*>(row + column) = in[j];
  }
  __syncthreads();
  code_groups(matrix, threadIdx.x / 32, kThreads / 32, SharedRow{row, matrix.input_order},
              writer.codes(), writer.scale());
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

/// Blocks of a multiprocessor: so many rows are on their way together.
template <int kFours, bool kHasNorm>
inline constexpr int kBlocks = kFours <= 2                    ? 3
                               : kFours <= (kHasNorm ? 4 : 8) ? 2
                                                              : 1;

/// `kHasNorm`: registers for its weights.
template <int kFours, bool kHasNorm>
__global__ void __launch_bounds__(kThreads, kBlocks<kFours, kHasNorm>)
    prepare_kernel(PrepareTask task) {
  let_next_start();
  const int size = task.matrix.columns;
  Row<kHasNorm ? kFours : 1> weight;
  const RowSource& from = task.source;
  if constexpr (kHasNorm) load_row<kFours>(from.norm, Element::kF32, 0, size, weight);
  wait_for_previous();
  if (task.best != nullptr && threadIdx.x == 0) task.best[blockIdx.x] = 0;
  const int source = task.row_index != nullptr ? task.row_index[blockIdx.x] : blockIdx.x;
  const std::int64_t base = static_cast<std::int64_t>(source) * from.stride;
  Row<kFours> row;
  load_row<kFours>(from.x, from.element, base, size, row);
  float factor = 1;
  const bool is_deferred = defers_norm(task.matrix.layout) && task.out.squares != nullptr;
  if constexpr (kHasNorm) {
    const SquareSum squares = row_squares<kFours>(row);
    if (is_deferred) {
      if (threadIdx.x == 0) task.out.squares[blockIdx.x] = squares;
    } else {
      factor = norm_factor(squares, size, static_cast<float>(from.eps));
    }
#pragma unroll
    for (int j = 0; j < kFours; ++j) row[j] = product(row[j], weight[j]);
  }
  if (is_coded(task.matrix.layout)) return write_codes<kFours>(task, row, factor);
  if constexpr (kHasNorm) {
    if (!is_deferred) {
#pragma unroll
      for (int j = 0; j < kFours; ++j) row[j] = product(row[j], factor);
    }
  }
  task.matrix.layout == MatrixLayout::kInt4 ? write_groups<kFours>(task, row)
                                            : write_numbers<kFours>(task, row);
}

template <int kFours>
void launch(const PrepareTask& task, StreamHandle stream) {
  auto* kernel =
      task.source.norm != nullptr ? prepare_kernel<kFours, true> : prepare_kernel<kFours, false>;
  // Whole fours; only groups need them.
  const int shared_bytes =
      task.matrix.layout == MatrixLayout::kInt4 ? (task.matrix.columns + 3) / 4 * 16 : 0;
  launch_kernel(kernel, dim3(task.num_rows), kThreads, shared_bytes, stream, task);
}

/// Rows without a norm for an int4 matrix: a warp for each group, which needs no other's numbers.
__global__ void __launch_bounds__(32 * kGroupWarps) prepare_groups_kernel(PrepareTask task) {
  let_next_start();
  const MatrixView& matrix = task.matrix;
  const RowSource& from = task.source;
  const int warps = gridDim.y * kGroupWarps;
  const int warp = blockIdx.y * kGroupWarps + threadIdx.x / 32;
  const int token = blockIdx.x;
  const GroupWriter writer(task, token);
  wait_for_previous();
  const int source = task.row_index != nullptr ? task.row_index[token] : token;
  const std::int64_t base = static_cast<std::int64_t>(source) * from.stride;
  const std::int32_t* order = matrix.input_order;
  const auto four_at = [&](int column) {
    if (order == nullptr) return load_four(from.x, from.element, base, column, matrix.columns);
    const auto at = [&](int i) {
      return load_element(from.x, from.element, base + order[column + i]);
    };
    return float4{at(0), at(1), at(2), at(3)};
  };
  const int lane_column = warp * 128 + threadIdx.x % 32 * 4;
  if (has_whole_groups(matrix)) {
    if (lane_column < matrix.columns)
      code_whole_group(four_at(lane_column), lane_column, writer.codes(), writer.scale());
    return;
  }
  code_groups(matrix, warp, warps, four_at, writer.codes(), writer.scale());
}

}  // namespace

void prepare_rows(const PrepareTask& task, StreamHandle stream) {
  const MatrixView& matrix = task.matrix;
  if (matrix.layout == MatrixLayout::kInt4 && task.source.norm == nullptr && task.best == nullptr) {
    const dim3 grid(task.num_rows, (matrix.num_groups + kGroupWarps - 1) / kGroupWarps);
    return launch_kernel(prepare_groups_kernel, grid, 32 * kGroupWarps, 0, stream, task);
  }
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
