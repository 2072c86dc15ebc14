#include "base/dtype.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace iol {
namespace {

TEST(DType, f16_round_trips_every_finite_value) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = f16_to_f32(static_cast<std::uint16_t>(bits));
    if (std::isnan(value)) continue;
    EXPECT_EQ(f32_to_f16(value), bits);
  }
}

TEST(DType, f16_rounds_half_to_even) {
  EXPECT_EQ(f32_to_f16(1.0F + 0x1p-11F), f32_to_f16(1.0F));
  EXPECT_EQ(f32_to_f16(1.0F + 0x1.8p-10F), f32_to_f16(1.0F + 0x1p-9F));
  EXPECT_EQ(f32_to_f16(65520.0F), 0x7c00);
  EXPECT_EQ(f32_to_f16(0x1p-25F), 0);
}

TEST(DType, bf16_rounds_to_the_nearest_of_its_neighbours) {
  for (std::uint32_t i = 0; i < 200000; ++i) {
    const auto value = std::bit_cast<float>(i * 21473U);
    if (!std::isfinite(value)) continue;
    const float rounded = bf16_to_f32(f32_to_bf16(value));
    const auto bits = std::bit_cast<std::uint32_t>(value);
    const double below = bf16_to_f32(static_cast<std::uint16_t>(bits >> 16));
    const double above = bf16_to_f32(static_cast<std::uint16_t>((bits >> 16) + 1));
    if (std::isinf(above)) continue;
    EXPECT_LE(std::abs(rounded - double{value}),
              std::min(std::abs(below - double{value}), std::abs(above - double{value})));
  }
}

TEST(DType, parses_the_names_of_every_file_format) {
  EXPECT_EQ(parse_dtype("torch.bfloat16"), DType::kBF16);
  EXPECT_EQ(parse_dtype("float16"), DType::kF16);
  EXPECT_EQ(parse_dtype("F32"), DType::kF32);
  EXPECT_EQ(parse_dtype("float7"), std::nullopt);
}

}  // namespace
}  // namespace iol
