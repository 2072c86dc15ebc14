#include "base/dtype.h"

#include <array>
#include <cmath>

#include "base/error.h"

namespace iol {
namespace {

struct DTypeRow {
  DType dtype;
  std::size_t bytes;
  std::string_view name;         // ours
  std::string_view torch_name;   // config.json
  std::string_view tensor_name;  // safetensors
};

constexpr std::array<DTypeRow, 11> kRows{{
    {DType::kF32, 4, "f32", "float32", "F32"},
    {DType::kF16, 2, "f16", "float16", "F16"},
    {DType::kBF16, 2, "bf16", "bfloat16", "BF16"},
    {DType::kI64, 8, "i64", "int64", "I64"},
    {DType::kI32, 4, "i32", "int32", "I32"},
    {DType::kI16, 2, "i16", "int16", "I16"},
    {DType::kI8, 1, "i8", "int8", "I8"},
    {DType::kU8, 1, "u8", "uint8", "U8"},
    {DType::kBool, 1, "bool", "bool", "BOOL"},
    {DType::kF64, 8, "f64", "float64", "F64"},
    {DType::kF8E4M3, 1, "fp8", "float8_e4m3fn", "F8_E4M3"},
}};

const DTypeRow& row(DType dtype) {
  for (const auto& candidate : kRows) {
    if (candidate.dtype == dtype) return candidate;
  }
  IOL_CHECK(!"unknown dtype");
}

}  // namespace

std::size_t dtype_bytes(DType dtype) { return row(dtype).bytes; }
std::string_view dtype_name(DType dtype) { return row(dtype).name; }
std::string_view safetensors_name(DType dtype) { return row(dtype).tensor_name; }

std::optional<DType> parse_dtype(std::string_view name) {
  constexpr std::string_view kTorchPrefix = "torch.";
  if (name.starts_with(kTorchPrefix)) name.remove_prefix(kTorchPrefix.size());
  for (const auto& candidate : kRows) {
    if (name == candidate.name || name == candidate.torch_name || name == candidate.tensor_name) {
      return candidate.dtype;
    }
  }
  return std::nullopt;
}

float f16_to_f32(std::uint16_t bits) {
  const std::uint32_t sign = (bits & 0x8000U) << 16;
  std::uint32_t exponent = (bits >> 10) & 0x1fU;
  std::uint32_t mantissa = bits & 0x3ffU;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000U | (mantissa << 13));
  if (exponent == 0) {
    // Subnormal: mantissa * 2^-24, exact in f32.
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24F;
    return sign != 0 ? -magnitude : magnitude;
  }
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

std::uint16_t f32_to_f16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000U);
  const std::uint32_t magnitude = bits & 0x7fffffffU;
  if (magnitude > 0x7f800000U) return static_cast<std::uint16_t>(sign | 0x7e00U);
  if (magnitude >= 0x47800000U) return static_cast<std::uint16_t>(sign | 0x7c00U);
  if (magnitude < 0x38800000U) {
    // Subnormal half: adding 0.5 aligns the value so that the FPU rounds to a multiple of 2^-24.
    const float aligned = std::bit_cast<float>(magnitude) + 0.5F;
    return static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(aligned) - 0x3f000000U));
  }
  const std::uint32_t rounded = magnitude + 0xfffU + ((magnitude >> 13) & 1U);
  return static_cast<std::uint16_t>(sign | ((rounded - 0x38000000U) >> 13));
}

float e4m3_to_f32(std::uint8_t bits) {
  const std::uint32_t sign = (bits & 0x80U) << 24;
  const std::uint32_t magnitude = bits & 0x7fU;
  if (magnitude == 0x7fU) return std::bit_cast<float>(sign | 0x7fc00000U);
  if (magnitude < 8) {  // subnormal: steps of 2^-9
    const float value = static_cast<float>(magnitude) / 512.0F;
    return sign != 0 ? -value : value;
  }
  // The bias goes from 7 to 127.
  return std::bit_cast<float>(sign | ((magnitude << 20) + (120U << 23)));
}

std::uint8_t f32_to_e4m3(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint8_t>((bits >> 24) & 0x80U);
  const std::uint32_t magnitude = bits & 0x7fffffffU;
  constexpr std::uint32_t kInfinity = 0x7f800000U;
  if (magnitude > kInfinity) return sign | 0x7fU;
  const float size = std::bit_cast<float>(magnitude);
  if (size >= 448.0F) return sign | 0x7eU;
  if (size < 0.015625F) {  // below 2^-6 steps are 2^-9; 8 steps are the smallest normal number
    return static_cast<std::uint8_t>(
        sign | static_cast<std::uint8_t>((size * 512 + 8388608.0F) - 8388608.0F));
  }
  const std::uint32_t rounded = magnitude + 0x7ffffU + ((magnitude >> 20) & 1U);
  return static_cast<std::uint8_t>(sign | ((rounded >> 20) - (120U << 3)));
}

}  // namespace iol
