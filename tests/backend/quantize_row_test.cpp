// Rows in every format against NumPy and PyTorch, bit for bit.
#include "backend/quantize_row.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/dtype.h"

namespace iol {
namespace {

using nlohmann::json;

const json& cases() {
  static const json document = [] {
    std::ifstream file(std::string(IOL_SOURCE_DIR) + "/tests/goldens/quantization/cases.json");
    return json::parse(file);
  }();
  return document;
}

std::vector<float> floats(const json& bits) {
  std::vector<float> values;
  for (const auto& item : bits) values.push_back(std::bit_cast<float>(item.get<std::uint32_t>()));
  return values;
}

/// "int4:32" is int4 in groups of 32.
std::pair<WeightFormat, std::int64_t> format_of(const std::string& name) {
  const auto colon = name.find(':');
  const auto format = parse_weight_format(name.substr(0, colon)).value();
  return {format, colon == std::string::npos ? 0 : std::stoll(name.substr(colon + 1))};
}

TEST(QuantizeRow, equals_numpy_and_pytorch_bit_for_bit) {
  int num_compared = 0;
  for (const auto& row : cases()["rows"]) {
    const auto weights = floats(row["weights"]);
    for (const auto& [name, want] : row["formats"].items()) {
      SCOPED_TRACE(row["name"].get<std::string>() + ", " + name);
      const auto [format, group_size] = format_of(name);
      QuantizedRow quantized;
      ASSERT_TRUE(quantize_row(format, group_size, weights, quantized));
      EXPECT_EQ(quantized.codes, want["codes"].get<std::vector<std::uint8_t>>());
      EXPECT_EQ(quantized.scales, floats(want["scales"]));
      EXPECT_EQ(quantized.zeros, want["zeros"].get<std::vector<std::uint8_t>>());
      std::vector<float> dequantized(weights.size());
      dequantize_row(format, group_size, quantized, dequantized);
      EXPECT_EQ(dequantized, floats(want["dequantized"]));
      ++num_compared;
    }
  }
  EXPECT_EQ(num_compared, 7 * 6);
}

TEST(QuantizeRow, refuses_nan_and_infinity_in_every_format) {
  for (const float bad : {NAN, INFINITY, -INFINITY}) {
    std::vector<float> weights(32, 1.0F);
    weights[31] = bad;
    QuantizedRow row;
    for (const auto& traits : kWeightFormats) {
      if (traits.format == WeightFormat::kNone) continue;
      EXPECT_FALSE(quantize_row(traits.format, 32, weights, row)) << traits.name;
    }
  }
}

TEST(QuantizeRow, the_smallest_numbers_neither_overflow_nor_trap) {
  const std::vector<float> weights(32, std::numeric_limits<float>::denorm_min());
  QuantizedRow row;
  std::vector<float> back(32);
  for (const auto& traits : kWeightFormats) {
    if (traits.format == WeightFormat::kNone) continue;
    ASSERT_TRUE(quantize_row(traits.format, 32, weights, row));
    dequantize_row(traits.format, 32, row, back);
    for (const float value : back) EXPECT_LE(std::abs(value), 1e-30F) << traits.name;
  }
}

TEST(QuantizeRow, a_stored_row_comes_back) {
  const auto weights = floats(cases()["rows"][0]["weights"]);
  for (const auto& traits : kWeightFormats) {
    if (traits.format == WeightFormat::kNone) continue;
    QuantizedRow want;
    ASSERT_TRUE(quantize_row(traits.format, 64, weights, want));
    // Two equal rows as a tensor; the second is read.
    std::vector<std::uint8_t> values;
    std::vector<float> scales;
    std::vector<std::uint8_t> zeros;
    for (int copy = 0; copy < 2; ++copy) {
      if (traits.weight_bits == 4) {
        for (std::size_t k = 0; k < weights.size(); k += 2)
          values.push_back(static_cast<std::uint8_t>(want.codes[k] | want.codes[k + 1] << 4));
      } else {
        values.insert(values.end(), want.codes.begin(), want.codes.end());
      }
      scales.insert(scales.end(), want.scales.begin(), want.scales.end());
      zeros.insert(zeros.end(), want.zeros.begin(), want.zeros.end());
    }
    QuantizedTensor tensor;
    tensor.format = traits.format;
    tensor.group_size = traits.grouped ? 64 : static_cast<std::int64_t>(weights.size());
    tensor.values = values.data();
    tensor.scales = scales.data();
    tensor.zeros = zeros.data();
    QuantizedRow got;
    read_row(tensor, 1, static_cast<std::int64_t>(weights.size()), got);
    EXPECT_EQ(got.codes, want.codes) << traits.name;
    EXPECT_EQ(got.scales, want.scales) << traits.name;
    EXPECT_EQ(got.zeros, want.zeros) << traits.name;
  }
}

TEST(E4m3, every_code_has_pytorchs_value) {
  const auto want = floats(cases()["e4m3_values"]);
  for (int code = 0; code < 256; ++code) {
    const float got = e4m3_to_f32(static_cast<std::uint8_t>(code));
    const float expected = want[static_cast<std::size_t>(code)];
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(got)) << code;
    } else {
      EXPECT_EQ(std::bit_cast<std::uint32_t>(got), std::bit_cast<std::uint32_t>(expected)) << code;
    }
  }
}

TEST(E4m3, rounds_as_pytorch_does_and_saturates) {
  const auto values = floats(cases()["rounding"]["values"]);
  const auto codes = cases()["rounding"]["codes"].get<std::vector<std::uint8_t>>();
  ASSERT_EQ(values.size(), codes.size());
  for (std::size_t i = 0; i < values.size(); ++i)
    EXPECT_EQ(f32_to_e4m3(values[i]), codes[i]) << values[i];
  EXPECT_EQ(f32_to_e4m3(INFINITY), 0x7e);
  EXPECT_EQ(f32_to_e4m3(-1e9F), 0xfe);
  EXPECT_EQ(f32_to_e4m3(NAN) & 0x7f, 0x7f);
}

}  // namespace
}  // namespace iol
