#pragma once
// What happens to a sum over K when it is complete.
#include "backend/cuda/kernels/launch.cuh"
#include "backend/cuda/kernels/number.cuh"

namespace iol::cuda {

/// Orders like (value, lower column first); 0 is below every key, NaN above all.
__device__ __forceinline__ unsigned long long best_key(float value, int column) {
  const std::uint32_t bits = __float_as_uint(value);
  std::uint32_t order = (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
  if (value == 0.0F) order = 0x80000000U;  // both zeros are equal
  if (value != value) order = kOrderOfNan;
  return static_cast<unsigned long long>(order) << 32 | static_cast<std::uint32_t>(~column);
}

__device__ __forceinline__ void store_element(void* out, Element element, std::int64_t index,
                                              float value) {
  if (element == Element::kF32) {
    static_cast<float*>(out)[index] = value;
  } else {
    static_cast<std::uint16_t*>(out)[index] =
        element == Element::kBf16 ? to_bf16(value) : to_f16(value);
  }
}

__device__ __forceinline__ float silu(float x) { return __fdiv_rn(x, 1.0F + expf(-x)); }

struct EpilogueArgs {
  const float* bias;
  Epilogue kind;
  void* out;
  Element out_element;
  int out_stride;
  int out_columns;
  int out_run;
  int num_tokens;
  unsigned long long* best;
  const float* next_norm;
  NormedRows next;
  std::uint32_t* next_largest;
};

inline EpilogueArgs epilogue_args(const LinearTask& task) {
  return {task.bias,       task.epilogue,    task.out,     task.out_element,
          task.out_stride, task.out_columns, task.out_run, task.num_tokens,
          task.best,       task.next_norm,   task.next,    task.next_largest};
}

/// All but kSwiGlu: the finished sum of one token and one row of the matrix.
__device__ __forceinline__ void finish(const EpilogueArgs& args, int token, int row, float value) {
  if (token >= args.num_tokens || row >= args.out_columns) return;
  if (args.bias != nullptr) value += args.bias[row];
  float* out =
      static_cast<float*>(args.out) + static_cast<std::int64_t>(token) * args.out_stride + row;
  *out = args.kind == Epilogue::kAdd ? *out + value : value;
}

/// A gated result to its place.
__device__ __forceinline__ void store_gated(const EpilogueArgs& args, int token, int column,
                                            float result) {
  store_element(args.out, args.out_element,
                static_cast<std::int64_t>(token) * args.out_stride +
                    dealt_column(column, element_bytes(args.out_element), args.out_run),
                result);
}

/// kSwiGlu: `row` is that of the gate; the row of the up projection is 16 further on.
__device__ __forceinline__ void finish_gated(const EpilogueArgs& args, int token, int row,
                                             float gate, float up) {
  const int column = row / (2 * kTileRows) * kTileRows + row % kTileRows;
  if (token >= args.num_tokens || column >= args.out_columns) return;
  if (args.bias != nullptr) {
    gate += args.bias[row];
    up += args.bias[row + kTileRows];
  }
  store_gated(args, token, column, silu(gate) * up);
}

}  // namespace iol::cuda
