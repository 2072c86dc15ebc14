#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace iol {

/// How a weight matrix is stored and multiplied (`--quant`).
enum class WeightFormat : std::uint8_t {
  kNone,            // as the compute dtype
  kInt8,            // W8A8
  kInt8WeightOnly,  // W8A16
  kFp8,             // E4M3 weights and activations
  kInt4,            // weight only, in groups along K
};

/// The one description of a format: the loader, the kernels, `iol plan`, `iol build` and the
/// reports go by it. A weight is w[n][k] = (q[n][k] - zero[n][g]) * scale[n][g] with g = k /
/// group_size.
struct WeightFormatTraits {
  WeightFormat format;
  std::string_view name;
  int weight_bits;
  bool grouped;  // scales per output channel and group of K; else per output channel alone
  bool has_zero_points;
  std::string_view summary;
};

inline constexpr std::array<WeightFormatTraits, 5> kWeightFormats{{
    {WeightFormat::kNone, "none", 16, false, false, "weights in the compute dtype"},
    {WeightFormat::kInt8, "int8", 8, false, false,
     "int8 weights per output channel, int8 activations per token"},
    {WeightFormat::kInt8WeightOnly, "int8-wo", 8, false, false,
     "int8 weights per output channel, activations in the compute dtype"},
    {WeightFormat::kFp8, "fp8", 8, false, false,
     "E4M3 weights per output channel, E4M3 activations per token"},
    {WeightFormat::kInt4, "int4", 4, true, true,
     "int4 weights with zero points in groups along K, int8 activations per token and group"},
}};

constexpr const WeightFormatTraits& traits_of(WeightFormat format) {
  return kWeightFormats[static_cast<std::size_t>(format)];
}

/// "none", "int8", "int8-wo", "fp8", "int4".
constexpr std::string_view weight_format_name(WeightFormat format) {
  return traits_of(format).name;
}

constexpr std::optional<WeightFormat> parse_weight_format(std::string_view name) {
  for (const auto& traits : kWeightFormats) {
    if (traits.name == name) return traits.format;
  }
  return std::nullopt;
}

inline constexpr int kDefaultGroupSize = 128;

/// What to quantize and how, of a whole model.
struct Quantization {
  WeightFormat format = WeightFormat::kNone;  // of the layers' matrices
  int group_size = kDefaultGroupSize;         // of grouped formats; 0: a row is one group
  WeightFormat head = WeightFormat::kNone;    // of the LM head, or of the embedding it is tied to
  std::vector<std::string> keep = {};  // tensors with one of these in their name stay unquantized

  bool operator==(const Quantization&) const = default;
};

}  // namespace iol
