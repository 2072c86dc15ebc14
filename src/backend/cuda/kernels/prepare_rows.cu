// Left operands of a matrix: RMSNorm where it is wanted, then the form that the matrix multiplies.
//   y = x / sqrt(mean(x^2) + eps) * weight
//   int8   scale = max |y| / 127 of the row, code = round(y * (127 / max |y|))
//   fp8    scale = max |y| / 448, code = e4m3(y * (448 / max |y|))
//   int4   int8 codes with a scale for each group of the matrix, and the sum of the group's codes
// in f32, as the CPU backend rounds. One block of threads for each row; padding becomes zero.
#include "backend/cuda/kernels/launch.cuh"
#include "backend/cuda/kernels/number.cuh"
#include "backend/cuda/kernels/reduce.cuh"

namespace iol::cuda {
namespace {

constexpr int kThreads = 512;
constexpr int kAtOnce = 4;  // numbers of a thread that are loaded before the first is used
constexpr float kLeastMagnitude = 1e-30F;

__device__ float load_element(const void* x, Element element, std::int64_t index) {
  if (element == Element::kF32) return static_cast<const float*>(x)[index];
  const std::uint16_t bits = static_cast<const std::uint16_t*>(x)[index];
  return element == Element::kBf16 ? bf16_value(bits) : f16_value(bits);
}

/// The row's numbers, normalized, in shared memory.
__device__ void load_row(const PrepareTask& task, float* row, float* scratch) {
  const int size = task.matrix.columns;
  const int source = task.row_index != nullptr ? task.row_index[blockIdx.x] : blockIdx.x;
  const std::int64_t base = static_cast<std::int64_t>(source) * task.x_stride;
  float squares = 0;
  for (int first = threadIdx.x; first < size; first += kAtOnce * kThreads) {
    float value[kAtOnce];
#pragma unroll
    for (int j = 0; j < kAtOnce; ++j) {
      const int i = first + j * kThreads;
      value[j] = i < size ? load_element(task.x, task.element, base + i) : 0.0F;
    }
#pragma unroll
    for (int j = 0; j < kAtOnce; ++j) {
      const int i = first + j * kThreads;
      if (i < size) row[i] = value[j];
      squares = __fmaf_rn(value[j], value[j], squares);
    }
  }
  if (task.norm != nullptr) {
    const float total = block_sum<kThreads>(squares, scratch);
    const double mean = static_cast<double>(total) / size + task.eps;
    const auto scale = static_cast<float>(1.0 / sqrt(mean));
#pragma unroll 4
    for (int i = threadIdx.x; i < size; i += kThreads)
      row[i] = __fmul_rn(__fmul_rn(row[i], scale), __ldg(task.norm + i));
  }
  __syncthreads();
}

__device__ int run_of(const PrepareTask& task) {
  return task.out.is_dealt ? run_pieces(task.matrix.layout) : 0;
}

__device__ void write_codes(const PrepareTask& task, const float* row, float* scratch) {
  const int size = task.matrix.columns;
  const int padded = task.matrix.padded_columns;
  const bool is_int8 = task.matrix.layout == MatrixLayout::kInt8;
  const float most = is_int8 ? 127.0F : 448.0F;
  float largest = 0;
  for (int i = threadIdx.x; i < size; i += kThreads) largest = fmaxf(largest, fabsf(row[i]));
  largest = block_max<kThreads>(largest, scratch);
  const float inverse = reciprocal_scale(most, largest, kLeastMagnitude);
  const int run = run_of(task);
  auto* codes =
      static_cast<std::uint8_t*>(task.out.values) + static_cast<std::int64_t>(blockIdx.x) * padded;
  for (int i = threadIdx.x; i < padded; i += kThreads) {
    const float scaled = i < size ? scaled_within(row[i], inverse, most) : 0.0F;
    codes[dealt_column(i, 1, run)] =
        static_cast<std::uint8_t>(is_int8 ? __float2int_rn(scaled) : to_e4m3(scaled));
  }
  if (threadIdx.x == 0) task.out.scales[blockIdx.x] = __fdiv_rn(largest, most);
}

/// A warp for each group.
__device__ void write_groups(const PrepareTask& task, const float* row) {
  const MatrixView& matrix = task.matrix;
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

__device__ void write_plain(const PrepareTask& task, const float* row) {
  const int padded = task.matrix.padded_columns;
  const std::int64_t base = static_cast<std::int64_t>(blockIdx.x) * padded;
  const MatrixLayout layout = task.matrix.layout;
  const int run = run_of(task);
  for (int i = threadIdx.x; i < padded; i += kThreads) {
    const float value = i < task.matrix.columns ? row[i] : 0.0F;
    if (is_plain_rows(layout)) {
      static_cast<float*>(task.out.values)[base + i] = value;
    } else {
      const bool is_bf16 = layout == MatrixLayout::kBf16 || layout == MatrixLayout::kInt8Bf16;
      static_cast<std::uint16_t*>(task.out.values)[base + dealt_column(i, 2, run)] =
          is_bf16 ? to_bf16(value) : to_f16(value);
    }
  }
}

__global__ void __launch_bounds__(kThreads) prepare_kernel(PrepareTask task) {
  extern __shared__ float row[];  // [K]
  __shared__ float scratch[kThreads / 32];
  let_next_start();
  wait_for_previous();
  if (task.best != nullptr && threadIdx.x == 0) task.best[blockIdx.x] = 0;
  load_row(task, row, scratch);
  switch (task.matrix.layout) {
    case MatrixLayout::kInt8:
    case MatrixLayout::kFp8:
      write_codes(task, row, scratch);
      break;
    case MatrixLayout::kInt4:
      write_groups(task, row);
      break;
    default:
      write_plain(task, row);
  }
}

}  // namespace

void prepare_rows(const PrepareTask& task, StreamHandle stream) {
  const int shared_bytes = task.matrix.columns * 4;
  if (shared_bytes > 48 * 1024)
    cudaFuncSetAttribute(prepare_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes);
  launch_kernel(prepare_kernel, dim3(task.num_rows), kThreads, shared_bytes, stream, task);
}

}  // namespace iol::cuda
