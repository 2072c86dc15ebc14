// W8A8 against integers and doubles: quantization as it is defined, products that are exact.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "backend/cpu/kernels_of.h"
#include "backend/cpu/packed_matrix.h"
#include "base/cpu.h"
#include "base/huge_buffer.h"
#include "base/random.h"

namespace iol::cpu {
namespace {

std::vector<float> random_values(std::int64_t count, double scale, RandomStream& random) {
  std::vector<float> values;
  for (std::int64_t i = 0; i < count; ++i)
    values.push_back(static_cast<float>(scale * (2 * random.uniform() - 1)));
  return values;
}

/// Rows of integers in [-127, 127] and their scales, by the definition alone.
struct Quantized {
  std::vector<int> integers;
  std::vector<float> scales;
};

Quantized quantize(const std::vector<float>& values, std::int64_t columns) {
  Quantized result;
  for (std::size_t row = 0; row < values.size(); row += static_cast<std::size_t>(columns)) {
    float largest = 0;
    for (std::int64_t k = 0; k < columns; ++k)
      largest = std::max(largest, std::abs(values[row + static_cast<std::size_t>(k)]));
    result.scales.push_back(largest / 127.0F);
    for (std::int64_t k = 0; k < columns; ++k) {
      const float value = values[row + static_cast<std::size_t>(k)];
      result.integers.push_back(
          largest > 0 ? static_cast<int>(std::nearbyint(value * (127.0F / largest))) : 0);
    }
  }
  return result;
}

struct Shape {
  std::int64_t tokens, rows, columns;  // M, N, K
};

const Shape kShapes[] = {{1, 64, 16},   {1, 200, 384},  {2, 64, 64},     {5, 130, 48},
                         {7, 64, 2048}, {33, 96, 5632}, {600, 128, 112}, {3, 16, 2064},
                         {9, 70, 80},   {17, 130, 144}, {40, 64, 208},   {100, 320, 1040}};

/// x W^T by the kernels of one instruction set.
std::vector<float> product(Isa isa, const Shape& shape, const std::vector<float>& x,
                           const PackedMatrix& matrix) {
  const auto& kernels = kernels_of(isa);
  std::vector<std::uint8_t> bytes(x.size());
  std::vector<float> scales(static_cast<std::size_t>(shape.tokens));
  for (std::int64_t m = 0; m < shape.tokens; ++m) {
    kernels.quantize({x.data() + m * shape.columns, Element::kF32, shape.columns,
                      bytes.data() + m * shape.columns, scales.data() + m});
  }
  const std::int64_t stride = matrix.num_panels() * kPanelColumns;
  std::vector<float> out(static_cast<std::size_t>(shape.tokens * stride));
  HugeBuffer partial(kLinearScratchBytes);
  LinearTask task;
  task.x = bytes.data();
  task.x_stride = shape.columns;
  task.weights = matrix.data();
  task.weight_element = Element::kInt8;
  task.num_tokens = shape.tokens;
  task.num_columns = matrix.padded_columns();
  task.x_scales = scales.data();
  task.weight_scales = matrix.scales();
  task.weight_offsets = matrix.offsets();
  task.out = out.data();
  task.out_stride = stride;
  task.out_columns = stride;
  kernels.linear(task, 0, matrix.num_panels(), partial.as<float>());
  return out;
}

TEST(Int8, products_are_exact_on_every_instruction_set) {
  RandomStream random(1);
  ThreadPool threads(2);
  for (const Shape& shape : kShapes) {
    const auto weights = random_values(shape.rows * shape.columns, 0.3, random);
    const auto x = random_values(shape.tokens * shape.columns, 4, random);
    StackedMatrix source;
    source.parts = {{reinterpret_cast<const std::byte*>(weights.data()),
                     DType::kF32,
                     {shape.rows, shape.columns}}};
    source.format = WeightFormat::kInt8;
    const PackedMatrix matrix(source, DType::kBF16, threads);
    const auto w = quantize(weights, shape.columns);
    const auto a = quantize(x, shape.columns);
    const auto stride = static_cast<std::size_t>(matrix.num_panels() * kPanelColumns);
    for (const Isa isa : supported_isas()) {
      SCOPED_TRACE(std::string(isa_name(isa)) + ", K " + std::to_string(shape.columns));
      const auto out = product(isa, shape, x, matrix);
      for (std::int64_t m = 0; m < shape.tokens; ++m) {
        for (std::int64_t n = 0; n < shape.rows; ++n) {
          std::int64_t sum = 0;
          for (std::int64_t k = 0; k < shape.columns; ++k)
            sum += std::int64_t{a.integers[static_cast<std::size_t>(m * shape.columns + k)]} *
                   w.integers[static_cast<std::size_t>(n * shape.columns + k)];
          const float want = static_cast<float>(sum) * (a.scales[static_cast<std::size_t>(m)] *
                                                        w.scales[static_cast<std::size_t>(n)]);
          ASSERT_EQ(out[static_cast<std::size_t>(m) * stride + static_cast<std::size_t>(n)], want)
              << m << ", " << n;
        }
      }
    }
  }
}

TEST(Int8, quantizes_the_same_on_every_instruction_set_and_from_bf16) {
  RandomStream random(2);
  constexpr std::int64_t kSize = 352;
  auto x = random_values(kSize, 3, random);
  std::vector<std::uint16_t> halves;
  for (float& value : x) {
    halves.push_back(f32_to_bf16(value));
    value = bf16_to_f32(halves.back());
  }
  const auto want = quantize(x, kSize);
  for (const Isa isa : supported_isas()) {
    for (const bool bf16 : {false, true}) {
      std::vector<std::uint8_t> bytes(kSize);
      float scale = 0;
      const void* source = bf16 ? static_cast<const void*>(halves.data()) : x.data();
      kernels_of(isa).quantize(
          {source, bf16 ? Element::kBf16 : Element::kF32, kSize, bytes.data(), &scale});
      EXPECT_EQ(scale, want.scales[0]);
      for (std::size_t i = 0; i < bytes.size(); ++i)
        ASSERT_EQ(int{bytes[i]} - 128, want.integers[i]) << isa_name(isa) << ", " << i;
    }
  }
}

TEST(Int8, a_row_of_zeros_has_scale_zero_and_gives_zeros) {
  const std::vector<float> zeros(64, 0.0F);
  StackedMatrix source;
  source.parts = {{reinterpret_cast<const std::byte*>(zeros.data()), DType::kF32, {4, 16}}};
  source.format = WeightFormat::kInt8;
  ThreadPool threads(1);
  const PackedMatrix matrix(source, DType::kBF16, threads);
  const std::vector<float> ones(16, 1.0F);
  for (const Isa isa : supported_isas()) {
    for (const float value : product(isa, {1, 4, 16}, ones, matrix)) EXPECT_EQ(value, 0.0F);
    for (const float value : product(isa, {1, 4, 16}, std::vector<float>(16, 0.0F), matrix))
      EXPECT_EQ(value, 0.0F);
  }
}

TEST(Int8, rows_come_back_within_half_a_step) {
  RandomStream random(3);
  const auto weights = random_values(70 * 48, 2, random);
  StackedMatrix source;
  source.parts = {{reinterpret_cast<const std::byte*>(weights.data()), DType::kF32, {70, 48}}};
  source.format = WeightFormat::kInt8;
  ThreadPool threads(2);
  const PackedMatrix matrix(source, DType::kF32, threads);
  EXPECT_EQ(matrix.dtype(), DType::kI8);
  EXPECT_EQ(matrix.size_bytes(), 128U * 48 + 128 * 8);
  std::vector<float> row(48);
  for (std::int64_t n = 0; n < 70; ++n) {
    matrix.copy_row(n, row.data());
    for (std::size_t k = 0; k < 48; ++k) {
      const float step = matrix.scales()[n];
      EXPECT_NEAR(row[k], weights[static_cast<std::size_t>(n) * 48 + k], 0.5001 * step);
    }
  }
}

}  // namespace
}  // namespace iol::cpu
