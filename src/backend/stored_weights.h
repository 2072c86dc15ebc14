#pragma once
// What every backend asks of the weights that it packs.
#include "backend/backend.h"
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

}  // namespace iol
