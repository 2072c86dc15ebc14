// Products with bf16 and quantized weights on every instruction set, against doubles over the
// dequantized numbers: activations are quantized by the definition, only the order of additions is
// free.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "backend/cpu/kernels_of.h"
#include "backend/cpu/packed_matrix.h"
#include "base/cpu.h"
#include "base/error.h"
#include "base/huge_buffer.h"
#include "base/random.h"

namespace iol::cpu {
namespace {

struct Case {
  WeightFormat format;
  std::int64_t group_size;             // int4
  std::int64_t tokens, rows, columns;  // M, N, K
};

const Case kCases[] = {
    {WeightFormat::kNone, 0, 1, 200, 384},
    {WeightFormat::kNone, 0, 9, 64, 2064},
    {WeightFormat::kNone, 0, 17, 130, 34},
    {WeightFormat::kNone, 0, 530, 320, 110},
    {WeightFormat::kInt8WeightOnly, 0, 1, 200, 384},
    {WeightFormat::kInt8WeightOnly, 0, 7, 64, 2064},
    {WeightFormat::kInt8WeightOnly, 0, 600, 70, 112},
    {WeightFormat::kFp8, 0, 1, 130, 48},
    {WeightFormat::kFp8, 0, 13, 64, 1024},
    {WeightFormat::kFp8, 0, 33, 16, 592},
    {WeightFormat::kFp8, 0, 530, 96, 272},
    {WeightFormat::kInt4, 128, 1, 200, 384},
    {WeightFormat::kInt4, 32, 5, 64, 64},
    {WeightFormat::kInt4, 64, 26, 130, 192},
    {WeightFormat::kInt4, 128, 110, 64, 1024},
    {WeightFormat::kInt4, 16, 3, 16, 48},
    {WeightFormat::kInt4, 592, 9, 64, 592},
};

bool quantizes_activations(WeightFormat format) {
  return format != WeightFormat::kNone && format != WeightFormat::kInt8WeightOnly;
}

struct Matrix {
  std::vector<float> values;
  std::int64_t columns;

  [[nodiscard]] float at(std::int64_t row, std::int64_t column) const {
    return values[static_cast<std::size_t>(row * columns + column)];
  }
};

/// Values that bf16 holds exactly, so that it doesn't matter what a table multiplies with.
Matrix random_matrix(std::int64_t rows, std::int64_t columns, double scale, RandomStream& random) {
  Matrix matrix{{}, columns};
  for (std::int64_t i = 0; i < rows * columns; ++i)
    matrix.values.push_back(
        bf16_to_f32(f32_to_bf16(static_cast<float>(scale * (2 * random.uniform() - 1)))));
  return matrix;
}

/// What the format makes of activations: the numbers that are multiplied, scales included.
Matrix quantized_activations(const Case& c, const Matrix& x,
                             const std::vector<std::int32_t>& order) {
  if (!quantizes_activations(c.format)) return x;
  const bool is_int4 = c.format == WeightFormat::kInt4;
  const auto group = static_cast<std::size_t>(is_int4 ? c.group_size : c.columns);
  Matrix result{{}, c.columns};
  QuantizedRow row;
  for (std::int64_t m = 0; m < c.tokens; ++m) {
    std::vector<float> values;
    for (const auto k : order) values.push_back(x.at(m, k));
    std::vector<float> back(group);
    for (std::size_t begin = 0; begin < values.size(); begin += group) {
      const auto format = is_int4 ? WeightFormat::kInt8 : c.format;
      EXPECT_TRUE(quantize_row(format, 0, std::span(values).subspan(begin, group), row));
      dequantize_row(format, 0, row, back);
      result.values.insert(result.values.end(), back.begin(), back.end());
    }
  }
  return result;
}

PackedMatrix pack(const Case& c, const Matrix& weights) {
  ThreadPool threads(2);
  StackedMatrix source;
  source.parts = {{reinterpret_cast<const std::byte*>(weights.values.data()),
                   DType::kF32,
                   {c.rows, c.columns}}};
  source.format = c.format;
  source.group_size = c.group_size;
  return {source, DType::kBF16, threads};
}

/// x W^T by the kernels of one instruction set.
std::vector<float> product(Isa isa, const Case& c, const Matrix& x, const PackedMatrix& matrix,
                           const std::int32_t* order) {
  const auto& kernels = kernels_of(isa);
  const Element element = kernels.bf16_activations ? Element::kBf16 : Element::kF32;
  const std::int64_t element_bytes = element == Element::kBf16 ? 2 : 4;
  const auto count = static_cast<std::size_t>(c.tokens * c.columns);
  const std::int64_t num_groups = c.columns / matrix.group_size();
  std::vector<std::byte> operand(count * 4);
  std::vector<float> scales(static_cast<std::size_t>(c.tokens * num_groups));
  std::vector<std::int32_t> sums(scales.size());
  for (std::int64_t m = 0; m < c.tokens; ++m) {
    const float* row = x.values.data() + m * c.columns;
    std::byte* out = operand.data() + m * c.columns * element_bytes;
    if (c.format == WeightFormat::kInt4) {
      kernels.quantize_groups({row, Element::kF32, order, c.columns, c.group_size,
                               reinterpret_cast<std::int8_t*>(operand.data()) + m * c.columns,
                               scales.data() + m * num_groups, sums.data() + m * num_groups});
    } else if (c.format == WeightFormat::kFp8) {
      kernels.quantize_fp8({row, Element::kF32, c.columns, out, element, scales.data() + m});
    } else {
      for (std::int64_t k = 0; k < c.columns; ++k) {
        const auto bits = f32_to_bf16(row[k]);
        element == Element::kBf16 ? std::memcpy(out + k * 2, &bits, 2)
                                  : std::memcpy(out + k * 4, row + k, 4);
      }
    }
  }
  const std::int64_t stride = matrix.num_panels() * kPanelColumns;
  std::vector<float> out(static_cast<std::size_t>(c.tokens * stride));
  HugeBuffer scratch(kLinearScratchBytes);
  LinearTask task;
  task.x = operand.data();
  task.x_element = element;
  task.x_stride = c.columns;
  task.weights = matrix.data();
  task.weight_element = matrix.element();
  task.num_tokens = c.tokens;
  task.num_columns = c.columns;
  task.group_size = matrix.group_size();
  task.x_scales = quantizes_activations(c.format) ? scales.data() : nullptr;
  task.x_sums = sums.data();
  task.weight_scales = matrix.scales();
  task.out = out.data();
  task.out_stride = stride;
  task.out_columns = stride;
  kernels.linear(task, 0, matrix.num_panels(), scratch.as<float>());
  return out;
}

/// Rows of W by the definition, as f32.
Matrix dequantized(const Case& c, const Matrix& weights) {
  if (c.format == WeightFormat::kNone) return weights;
  Matrix result{{}, c.columns};
  QuantizedRow row;
  std::vector<float> back(static_cast<std::size_t>(c.columns));
  for (std::int64_t n = 0; n < c.rows; ++n) {
    const std::span values(weights.values.data() + n * c.columns, back.size());
    EXPECT_TRUE(quantize_row(c.format, c.group_size, values, row));
    dequantize_row(c.format, c.group_size, row, back);
    result.values.insert(result.values.end(), back.begin(), back.end());
  }
  return result;
}

std::string name_of(const Case& c, Isa isa) {
  return std::string(weight_format_name(c.format)) + ", M " + std::to_string(c.tokens) + ", K " +
         std::to_string(c.columns) + ", " + std::string(isa_name(isa));
}

TEST(WeightFormats, products_agree_with_doubles_on_every_instruction_set) {
  RandomStream random(11);
  for (const Case& c : kCases) {
    const auto weights = random_matrix(c.rows, c.columns, 0.3, random);
    const auto x = random_matrix(c.tokens, c.columns, 4, random);
    const PackedMatrix matrix = pack(c, weights);
    std::vector<std::int32_t> order(static_cast<std::size_t>(c.columns));
    std::iota(order.begin(), order.end(), 0);
    const auto w = dequantized(c, weights);
    const auto a = quantized_activations(c, x, order);
    const auto stride = matrix.num_panels() * kPanelColumns;
    for (const Isa isa : supported_isas()) {
      SCOPED_TRACE(name_of(c, isa));
      const auto out = product(isa, c, x, matrix, nullptr);
      for (std::int64_t m = 0; m < c.tokens; ++m) {
        for (std::int64_t n = 0; n < c.rows; ++n) {
          double want = 0;
          double size = 0;
          for (std::int64_t k = 0; k < c.columns; ++k) {
            const double term = double{a.at(m, k)} * w.at(n, k);
            want += term;
            size += std::abs(term);
          }
          // Each of K additions, and the handful of scalings, rounds once.
          const double tolerance = static_cast<double>(c.columns + 8) * 0x1p-24 * size;
          ASSERT_NEAR(out[static_cast<std::size_t>(m * stride + n)], want, tolerance)
              << m << ", " << n;
        }
      }
    }
  }
}

TEST(WeightFormats, int4_products_are_the_same_bits_wherever_multiply_add_is_fused) {
  RandomStream random(12);
  for (const Case& c : kCases) {
    if (c.format != WeightFormat::kInt4) continue;
    const auto weights = random_matrix(c.rows, c.columns, 0.3, random);
    const auto x = random_matrix(c.tokens, c.columns, 4, random);
    const PackedMatrix matrix = pack(c, weights);
    const auto want = product(best_isa(), c, x, matrix, nullptr);
    for (const Isa isa : supported_isas()) {
      if (isa == Isa::kPortable && best_isa() != Isa::kPortable) continue;
      EXPECT_EQ(product(isa, c, x, matrix, nullptr), want) << name_of(c, isa);
    }
  }
}

TEST(WeightFormats, a_row_does_not_depend_on_its_neighbours) {
  RandomStream random(13);
  for (const Case& c : kCases) {
    const auto weights = random_matrix(c.rows, c.columns, 0.3, random);
    const auto x = random_matrix(c.tokens, c.columns, 4, random);
    const PackedMatrix matrix = pack(c, weights);
    const auto stride = matrix.num_panels() * kPanelColumns;
    for (const Isa isa : supported_isas()) {
      const auto together = product(isa, c, x, matrix, nullptr);
      for (const std::int64_t m : {std::int64_t{0}, c.tokens / 2, c.tokens - 1}) {
        Case alone = c;
        alone.tokens = 1;
        const Matrix row{{x.values.begin() + m * c.columns, x.values.begin() + (m + 1) * c.columns},
                         c.columns};
        const auto out = product(isa, alone, row, matrix, nullptr);
        EXPECT_TRUE(std::equal(out.begin(), out.end(), together.begin() + m * stride))
            << name_of(c, isa);
      }
    }
  }
}

TEST(WeightFormats, a_row_is_the_same_bits_among_any_number_of_rows) {
  constexpr std::int64_t kMostRows = 513;
  RandomStream random(16);
  for (const auto& traits : kWeightFormats) {
    if (traits.format == WeightFormat::kInt8) continue;  // held to exact sums (int8_test.cpp)
    Case c = {traits.format, 208, kMostRows, 330, 208};
    const auto weights = random_matrix(c.rows, c.columns, 0.3, random);
    const auto x = random_matrix(c.tokens, c.columns, 4, random);
    const PackedMatrix matrix = pack(c, weights);
    for (const Isa isa : supported_isas()) {
      if (isa == Isa::kPortable && best_isa() != Isa::kPortable) continue;  // slow
      const auto all = product(isa, c, x, matrix, nullptr);
      for (std::int64_t rows = 1; rows < kMostRows; rows += rows < 70 ? 1 : 61) {
        Case some = c;
        some.tokens = rows;
        const auto out = product(isa, some, x, matrix, nullptr);
        ASSERT_TRUE(std::equal(out.begin(), out.end(), all.begin())) << name_of(some, isa);
      }
    }
  }
}

TEST(WeightFormats, act_order_multiplies_each_column_with_its_input) {
  RandomStream random(14);
  const Case c = {WeightFormat::kInt4, 32, 4, 64, 96};
  const auto stored = random_matrix(c.rows, c.columns, 0.3, random);
  const auto x = random_matrix(c.tokens, c.columns, 4, random);
  std::vector<std::int32_t> order(96);
  std::iota(order.begin(), order.end(), 0);
  for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
  const PackedMatrix matrix = pack(c, stored);
  Matrix shuffled{{}, c.columns};
  for (std::int64_t m = 0; m < c.tokens; ++m)
    for (const auto k : order) shuffled.values.push_back(x.at(m, k));
  for (const Isa isa : supported_isas())
    EXPECT_EQ(product(isa, c, x, matrix, order.data()), product(isa, c, shuffled, matrix, nullptr));
}

TEST(WeightFormats, rows_come_back_as_the_definition_says) {
  RandomStream random(15);
  for (const Case& c : kCases) {
    const auto weights = random_matrix(c.rows, c.columns, 2, random);
    const PackedMatrix matrix = pack(c, weights);
    const auto want = dequantized(c, weights);
    std::vector<float> row(static_cast<std::size_t>(c.columns));
    for (std::int64_t n = 0; n < c.rows; ++n) {
      matrix.copy_row(n, row.data());
      for (std::int64_t k = 0; k < c.columns; ++k)
        ASSERT_EQ(row[static_cast<std::size_t>(k)], want.at(n, k));
    }
  }
}

TEST(WeightFormats, nan_in_a_weight_is_refused_by_the_tensors_name) {
  std::vector<float> weights(64 * 32, 0.5F);
  weights[777] = NAN;
  StackedMatrix source;
  source.parts = {{reinterpret_cast<const std::byte*>(weights.data()), DType::kF32, {64, 32}}};
  source.group_size = 32;
  source.name = "model.layers.3.mlp.down_proj.weight";
  ThreadPool threads(2);
  for (const auto& traits : kWeightFormats) {
    if (traits.format == WeightFormat::kNone) continue;
    source.format = traits.format;
    try {
      const PackedMatrix matrix(source, DType::kBF16, threads);
      ADD_FAILURE() << traits.name << " took it";
    } catch (const InputError& error) {
      EXPECT_NE(std::string(error.what()).find("layers.3.mlp.down_proj"), std::string::npos);
    }
  }
}

}  // namespace
}  // namespace iol::cpu
