#pragma once
// What every backend asks of the weights that it packs.
#include <cstdint>
#include <vector>

#include "backend/backend.h"
#include "backend/quantize_row.h"
#include "backend/read_elements.h"
#include "backend/weight_format.h"
#include "base/dtype.h"
#include "base/error.h"

namespace iol {

/// Of the numbers that a matrix in `format` holds; `dtype` where it isn't quantized.
inline DType stored_dtype(WeightFormat format, DType dtype) {
  switch (format) {
    case WeightFormat::kInt8:
    case WeightFormat::kInt8WeightOnly:
      return DType::kI8;
    case WeightFormat::kFp8:
      return DType::kF8E4M3;
    case WeightFormat::kInt4:
      return DType::kU8;
    case WeightFormat::kNone:
      break;
  }
  return dtype;
}

/// Throws InputError for weights that are neither f32, f16 nor bf16.
inline void require_float_weights(const HostTensor& tensor) {
  if (tensor.dtype != DType::kF32 && tensor.dtype != DType::kF16 && tensor.dtype != DType::kBF16) {
    throw_input_error("weights of type {} are not supported; expected f32, f16 or bf16",
                      dtype_name(tensor.dtype));
  }
}

/// Row `row` of a part of `source` in its format: as it is stored, or quantized now, for which
/// `weights` [K] is scratch. False when a weight to be quantized is NaN or infinite.
[[nodiscard]] inline bool quantized_row_of(const StackedMatrix& source, const HostTensor& part,
                                           std::int64_t row, std::vector<float>& weights,
                                           QuantizedRow& quantized) {
  const std::int64_t num_columns = part.shape[1];
  if (part.quantized != nullptr) {
    read_row(*part.quantized, row, num_columns, quantized);
    return true;
  }
  weights.resize(static_cast<std::size_t>(num_columns));
  read_elements(part, row * num_columns, weights);
  return quantize_row(source.format, source.group_size, weights, quantized);
}

[[noreturn]] inline void throw_not_finite(const StackedMatrix& source) {
  throw_input_error(
      "tensor '{}' holds NaN or infinity and can't be quantized; the checkpoint is damaged",
      source.name);
}

}  // namespace iol
