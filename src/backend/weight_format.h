#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

namespace iol {

/// How a weight matrix is stored and multiplied (`--quant`).
enum class WeightFormat : std::uint8_t {
  kNone,  // as the compute dtype
  /// W8A8: weights int8 with one scale per output channel, activations int8 with one scale per
  /// token, exact integer sums; symmetric, scale = largest magnitude / 127, rounded to nearest
  /// even.
  kInt8,
};

/// "none", "int8".
constexpr std::string_view weight_format_name(WeightFormat format) {
  return format == WeightFormat::kInt8 ? "int8" : "none";
}

constexpr std::optional<WeightFormat> parse_weight_format(std::string_view name) {
  if (name == "none") return WeightFormat::kNone;
  if (name == "int8") return WeightFormat::kInt8;
  return std::nullopt;
}

}  // namespace iol
