#pragma once
// int8 codes of a row with a scale for each group of columns, for int4 matrices: scale = max |y| /
// 127 of the group, code = round(y * (127 / max |y|)), and the sum of the group's codes.
#include "backend/cuda/kernels/operand_rows.cuh"

namespace iol::cuda {

__device__ __forceinline__ int warp_sum_of_codes(int sum) {
  return __reduce_add_sync(0xffffffffU, sum);
}
__device__ __forceinline__ int add_codes(std::uint32_t four, int sum) {
  return __dp4a(static_cast<int>(four), 0x01010101, sum);
}

/// True when a warp that holds 128 columns one behind the other holds a group.
__device__ __forceinline__ bool has_whole_groups(const MatrixView& matrix) {
  return matrix.group_size == 128 && matrix.input_order == nullptr;
}
/// Such a group; the lane's four numbers begin at `column`. put_codes(column, four codes) gets
/// padded columns, put_scale(group, scale, sum) is for one lane.
template <class PutCodes, class PutScale>
__device__ __forceinline__ void code_whole_group(const float4& y, int column, PutCodes put_codes,
                                                 PutScale put_scale) {
  const RowCoder coder(true, warp_largest(fmaxf(largest_of(y), 0.0F)));
  const std::uint32_t four = coder.codes(y);
  put_codes(column, four);
  const int sum = warp_sum_of_codes(add_codes(four, 0));
  if (threadIdx.x % 32 == 0) put_scale(column / 128, coder.scale(), sum);
}

/// Groups `warp`, `warp` + `stride` ... of a row, by a warp. four_at(column): numbers that follow
/// each other in a group, wherever they are in the row.
template <class FourAt, class PutCodes, class PutScale>
__device__ __forceinline__ void code_groups(const MatrixView& matrix, int warp, int stride,
                                            FourAt four_at, PutCodes put_codes,
                                            PutScale put_scale) {
  const int lane = threadIdx.x % 32;
  for (int group = warp; group < matrix.num_groups; group += stride) {
    const int first = group * matrix.group_size;
    float largest = 0;
    for (int i = 4 * lane; i < matrix.group_size; i += 128)
      largest = fmaxf(largest, largest_of(four_at(first + i)));
    const RowCoder coder(true, warp_largest(largest));
    int sum = 0;
    for (int i = 4 * lane; i < matrix.padded_group; i += 128) {
      const std::uint32_t four = i < matrix.group_size ? coder.codes(four_at(first + i)) : 0;
      put_codes(group * matrix.padded_group + i, four);
      sum = add_codes(four, sum);
    }
    sum = warp_sum_of_codes(sum);
    if (lane == 0) put_scale(group, coder.scale(), sum);
  }
  if (warp != 0) return;
  for (int i = matrix.num_groups * matrix.padded_group + 4 * lane; i < matrix.padded_columns;
       i += 128)
    put_codes(i, 0);
}

/// four_at() of a row in shared memory: groups may take their columns from anywhere.
struct SharedRow {
  const float* y;
  const std::int32_t* order;
  __device__ __forceinline__ float4 operator()(int column) const {
    if (order == nullptr) return *reinterpret_cast<const float4*>(y + column);
    return {y[order[column]], y[order[column + 1]], y[order[column + 2]], y[order[column + 3]]};
  }
};

}  // namespace iol::cuda
