#pragma once
// How keys and values are kept in the cache (`--kv-cache`), named by a DType: bf16, f16, f32 as
// they are; int8 and fp8 (E4M3) with one f32 scale for each position's key and one for its value in
// every head. The one description that the cache, `iol plan`, the engine and the records go by.
#include <cstddef>
#include <optional>
#include <string_view>

#include "base/dtype.h"

namespace iol {

constexpr bool is_quantized_kv(DType dtype) {
  return dtype == DType::kI8 || dtype == DType::kF8E4M3;
}

/// Bytes of one key, or of one value, of a head: its elements and its scale.
inline std::size_t kv_row_bytes(int head_dim, DType dtype) {
  return static_cast<std::size_t>(head_dim) * dtype_bytes(dtype) +
         (is_quantized_kv(dtype) ? sizeof(float) : 0);
}

/// "bf16", "f16", "f32", "int8", "fp8".
inline std::string_view kv_format_name(DType dtype) {
  return dtype == DType::kI8 ? "int8" : dtype_name(dtype);
}

inline std::optional<DType> parse_kv_format(std::string_view name) {
  for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF32, DType::kI8, DType::kF8E4M3}) {
    if (kv_format_name(dtype) == name) return dtype;
  }
  return std::nullopt;
}

}  // namespace iol
