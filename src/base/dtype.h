#pragma once
// Element types of tensors, and the scalar conversions that every reference path uses.
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace iol {

enum class DType : std::uint8_t {
  kF32,
  kF16,
  kBF16,
  kI64,
  kI32,
  kI16,
  kI8,
  kU8,
  kBool,
  kF64,
  kF8E4M3
};

/// Bytes of one element.
std::size_t dtype_bytes(DType dtype);
/// The short name used in reports and options: "f32", "bf16", ...
std::string_view dtype_name(DType dtype);
/// The name in safetensors files: "F32", "BF16", "F8_E4M3", ...
std::string_view safetensors_name(DType dtype);
/// Accepts our names and those of config.json and safetensors ("float32", "torch.bfloat16",
/// "BF16").
std::optional<DType> parse_dtype(std::string_view name);

inline float bf16_to_f32(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

/// Rounds to nearest, ties to even; a NaN stays a (quiet) NaN.
inline std::uint16_t f32_to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffffU) > 0x7f800000U) return static_cast<std::uint16_t>((bits >> 16) | 0x40U);
  return static_cast<std::uint16_t>((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16);
}

float f16_to_f32(std::uint16_t bits);
/// Rounds to nearest, ties to even; overflows to infinity.
std::uint16_t f32_to_f16(float value);

/// E4M3 of "FP8 Formats for Deep Learning" (Micikevicius et al. 2022): bias 7, no infinities, NaN
/// is 0x7f.
float e4m3_to_f32(std::uint8_t bits);
/// Rounds to nearest, ties to even; beyond 448 the largest magnitude; a NaN stays NaN.
std::uint8_t f32_to_e4m3(float value);

}  // namespace iol
