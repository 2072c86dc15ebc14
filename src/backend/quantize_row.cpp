#include "backend/quantize_row.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "base/dtype.h"
#include "base/error.h"

namespace iol {
namespace {

constexpr float kMostInt8 = 127.0F;
constexpr float kMostFp8 = 448.0F;
constexpr float kMostInt4 = 15.0F;
// Below it, a reciprocal would overflow.
constexpr float kLeastMagnitude = 1e-30F;

/// One pass without a branch: the exponents of NaN and infinity are the largest.
bool all_finite(std::span<const float> weights) {
  std::uint32_t worst = 0;
  for (const float weight : weights)
    worst = std::max(worst, std::bit_cast<std::uint32_t>(weight) & 0x7fffffffU);
  return worst < 0x7f800000U;
}

/// To the nearest integer, ties to even, for |x| < 2^22: as nearbyint, but without a call, so that
/// the compiler takes several at a time.
float round_to_even(float x) {
  constexpr float kShift = 12582912.0F;  // 1.5 * 2^23: its last bit is worth 1
  return (x + kShift) - kShift;
}

/// `convert(scaled)` gives the code of a weight that was scaled to [-most, most].
template <class Convert>
void quantize_symmetric(float most, std::span<const float> weights, QuantizedRow& row,
                        Convert convert) {
  float largest = 0;
  for (const float weight : weights) largest = std::max(largest, std::abs(weight));
  const float inverse = largest > kLeastMagnitude ? most / largest : 0.0F;
  for (std::size_t k = 0; k < weights.size(); ++k)
    row.codes[k] = convert(std::clamp(weights[k] * inverse, -most, most));
  row.scales[0] = largest / most;
}

void quantize_int4_group(std::span<const float> weights, std::uint8_t* codes, float& scale,
                         std::uint8_t& zero) {
  float low = 0;
  float high = 0;
  for (const float weight : weights) {
    low = std::min(low, weight);
    high = std::max(high, weight);
  }
  scale = (high - low) / kMostInt4;
  const float offset = scale > 0 ? round_to_even(-low / scale) : 0.0F;
  zero = static_cast<std::uint8_t>(offset);
  for (std::size_t k = 0; k < weights.size(); ++k) {
    const float code = scale > 0 ? round_to_even(weights[k] / scale) + offset : 0.0F;
    codes[k] = static_cast<std::uint8_t>(std::clamp(code, 0.0F, kMostInt4));
  }
}

}  // namespace

bool quantize_row(WeightFormat format, std::int64_t group_size, std::span<const float> weights,
                  QuantizedRow& row) {
  if (!all_finite(weights)) return false;
  row.codes.resize(weights.size());
  row.zeros.clear();
  row.scales.resize(1);
  switch (format) {
    case WeightFormat::kInt8:
    case WeightFormat::kInt8WeightOnly:
      quantize_symmetric(kMostInt8, weights, row, [](float x) {
        return static_cast<std::uint8_t>(static_cast<std::int8_t>(round_to_even(x)));
      });
      return true;
    case WeightFormat::kFp8:
      quantize_symmetric(kMostFp8, weights, row, f32_to_e4m3);
      return true;
    case WeightFormat::kInt4: {
      const auto group = static_cast<std::size_t>(group_size);
      IOL_CHECK(group > 0 && weights.size() % group == 0);
      const std::size_t num_groups = weights.size() / group;
      row.scales.resize(num_groups);
      row.zeros.resize(num_groups);
      for (std::size_t g = 0; g < num_groups; ++g) {
        quantize_int4_group(weights.subspan(g * group, group), row.codes.data() + g * group,
                            row.scales[g], row.zeros[g]);
      }
      return true;
    }
    case WeightFormat::kNone:
      break;
  }
  IOL_CHECK(!"not a quantized format");
}

void read_row(const QuantizedTensor& tensor, std::int64_t n, std::int64_t num_columns,
              QuantizedRow& row) {
  const auto columns = static_cast<std::size_t>(num_columns);
  const auto num_groups = columns / static_cast<std::size_t>(tensor.group_size);
  const auto index = static_cast<std::size_t>(n);
  row.codes.resize(columns);
  row.scales.assign(tensor.scales + index * num_groups, tensor.scales + (index + 1) * num_groups);
  row.zeros.clear();
  if (tensor.format != WeightFormat::kInt4) {
    std::memcpy(row.codes.data(), tensor.values + index * columns, columns);
    return;
  }
  const std::uint8_t* pairs = tensor.values + index * (columns / 2);
  for (std::size_t k = 0; k < columns; k += 2) {
    row.codes[k] = pairs[k / 2] & 15U;
    row.codes[k + 1] = pairs[k / 2] >> 4U;
  }
  row.zeros.resize(num_groups, 8);
  if (tensor.zeros != nullptr)
    std::memcpy(row.zeros.data(), tensor.zeros + index * num_groups, num_groups);
}

void dequantize_row(WeightFormat format, std::int64_t group_size, const QuantizedRow& row,
                    std::span<float> out) {
  IOL_CHECK(out.size() == row.codes.size());
  const auto group = format == WeightFormat::kInt4 ? static_cast<std::size_t>(group_size)
                                                   : std::max<std::size_t>(out.size(), 1);
  for (std::size_t k = 0; k < out.size(); ++k) {
    const float scale = row.scales[k / group];
    const std::uint8_t code = row.codes[k];
    if (format == WeightFormat::kFp8) {
      out[k] = e4m3_to_f32(code) * scale;
    } else if (format == WeightFormat::kInt4) {
      out[k] = static_cast<float>(int{code} - int{row.zeros[k / group]}) * scale;
    } else {
      out[k] = static_cast<float>(static_cast<std::int8_t>(code)) * scale;
    }
  }
}

}  // namespace iol
