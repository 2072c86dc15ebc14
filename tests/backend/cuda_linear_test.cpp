// The kernel of compute capability 9.0, in every shape of its blocks, against the portable kernels
// for few tokens. Needs such a GPU.
#include <gtest/gtest.h>

#include <cmath>

#include "backend/cuda/cuda_device.h"
#include "backend/cuda/kernels/kernel_level.h"
#include "bench/kernels/linear_case.h"
#include "tests/backend/linear_product.h"
#include "tests/backend/wide_shapes.h"

namespace iol::cuda {
namespace {

/// By the kernels for at most 64 tokens, 64 at a time.
std::vector<std::uint32_t> product_by_few(const LinearCase& linear) {
  const Stream stream;
  linear.clear();
  for (int first = 0; first < linear.shape().tokens; first += 64)
    cuda::linear(linear.part(linear.task(RowForm::kPlain), first,
                             std::min(64, linear.shape().tokens - first)),
                 stream.get());
  check_launch("a product");
  stream.synchronize("a product");
  return linear.results();
}

std::string name_of(const testing::TestParamInfo<MatrixLayout>& info) {
  switch (info.param) {
    case MatrixLayout::kBf16:
      return "bf16";
    case MatrixLayout::kF16:
      return "f16";
    case MatrixLayout::kInt8:
      return "int8";
    case MatrixLayout::kInt8Bf16:
      return "int8_times_bf16";
    case MatrixLayout::kInt8F16:
      return "int8_times_f16";
    case MatrixLayout::kInt4:
      return "int4";
    default:
      return "fp8";
  }
}

class CudaLinearTest : public testing::TestWithParam<MatrixLayout> {
 protected:
  void SetUp() override {
    if (cuda_status().devices.empty()) GTEST_SKIP() << cuda_status().reason;
    if (!takes_hopper_kernels()) GTEST_SKIP() << "needs compute capability 9.0";
  }
};

// Large matrices with a few tokens; rows that end within a block, K whose parts are odd or empty,
// tokens that end within a tile; of int4 groups that are several stages, one, a part of one, and
// such that end anywhere (padded: 16 to 32, 88 to 96).
const LinearShape kCases[] = {
    {"", MatrixLayout::kBf16, 4096, 4096, 5, Epilogue::kAdd, 128},
    {"", MatrixLayout::kBf16, 8192, 4160, 8, Epilogue::kSwiGlu, 64},
    {"", MatrixLayout::kBf16, 192, 64, 9, Epilogue::kStore, 32},
    {"", MatrixLayout::kBf16, 448, 2048, 7, Epilogue::kLogits, 128},
    {"", MatrixLayout::kBf16, 320, 1472, 27, Epilogue::kSwiGlu, 64},
    {"", MatrixLayout::kBf16, 192, 64, 65, Epilogue::kStore, 16},
    {"", MatrixLayout::kBf16, 320, 704, 130, Epilogue::kAdd, 88},
    {"", MatrixLayout::kBf16, 256, 5632, 100, Epilogue::kSwiGlu, 256},
    {"", MatrixLayout::kBf16, 1088, 2048, 257, Epilogue::kLogits, 128},
};

TEST_P(CudaLinearTest, every_shape_gives_the_bits_of_the_portable_kernels) {
  const bool is_fp8 = GetParam() == MatrixLayout::kFp8;
  for (LinearShape shape : kCases) {
    shape.layout = GetParam();
    const LinearCase linear(shape);
    const auto want = product_by_few(linear);
    for (const WideShape& wide : all_shapes()) {
      LinearTask task = linear.task(is_fp8 ? RowForm::kWidened : RowForm::kDealt);
      task.is_exact = true;
      if (!has_shape(task, wide)) continue;
      task.shape = wide;
      EXPECT_EQ(product(linear, task), want)
          << shape.rows << " x " << shape.columns << ", " << shape.tokens << " tokens in blocks of "
          << wide.rows << " x " << wide.tokens << " split by " << wide.split
          << (wide.is_apart ? " apart, " : ", ") << wide.sharers << " sharers";
    }
  }
}

/// The root of the mean square of two results' differences, in units of the second's.
double distance(const std::vector<std::uint32_t>& got, const std::vector<std::uint32_t>& want,
                std::size_t count) {
  double off = 0;
  double norm = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const double wanted = std::bit_cast<float>(want[i]);
    off += std::pow(std::bit_cast<float>(got[i]) - wanted, 2);
    norm += wanted * wanted;
  }
  return std::sqrt(off / norm);
}
/// Every second of the numbers of bf16.
std::vector<std::uint32_t> upper_halves(std::vector<std::uint32_t> words) {
  for (auto& word : words) word &= 0xffff0000U;
  return words;
}
bool writes_f32(const LinearShape& shape) { return shape.epilogue != Epilogue::kSwiGlu; }
std::size_t num_results(const LinearShape& shape) {
  return static_cast<std::size_t>(shape.tokens) * static_cast<std::size_t>(shape.rows);
}

/// fp8 instructions add products to a sum of at least 13 fraction bits below the largest of them:
/// an error of 2^-13 sum |x w| in each of the sums that are added. The kernels for few tokens have
/// f32 sums of the exact products.
TEST_P(CudaLinearTest, fp8_sums_are_within_the_instructions_precision) {
  if (GetParam() != MatrixLayout::kFp8) GTEST_SKIP() << "of fp8";
  for (LinearShape shape : kCases) {
    if (!writes_f32(shape)) continue;
    shape.layout = GetParam();
    const LinearCase linear(shape);
    const auto want = product_by_few(linear);
    for (const WideShape& wide : all_shapes()) {
      LinearTask task = linear.task(RowForm::kDealt);
      if (wide.tokens < 64 || !has_shape(task, wide)) continue;
      task.shape = wide;
      const double off = distance(product(linear, task), want, num_results(shape));
      // Random signs: sum |x w| is about sqrt(K) times a result. Large units add all of K to one
      // sum, 32 columns at a time; it is that large only at the end.
      const double steps = is_large(wide) ? std::max(1.0, shape.columns / 64.0) : 1;
      EXPECT_LT(off, 0x1p-13 * std::max(std::sqrt(shape.columns), steps)) << wide.tokens;
      EXPECT_GT(off, 0) << "the instruction is not fp8";
    }
  }
}

/// One accumulator over all of K in 16-bit formats: each of K / 16 additions errs by a unit in the
/// last place of the sum so far, 2^-23 of it.
TEST_P(CudaLinearTest, large_units_err_by_their_order_of_addition) {
  if (!is_half(GetParam())) GTEST_SKIP() << "of 16-bit formats";
  for (LinearShape shape : kCases) {
    shape.layout = GetParam();
    const LinearCase linear(shape);
    const auto want = product_by_few(linear);
    for (const WideShape& large : kLargeShapes) {
      LinearTask task = linear.task(RowForm::kDealt);
      task.shape = large;
      ASSERT_TRUE(has_shape(task, task.shape));
      const auto got = product(linear, task);
      if (!writes_f32(shape)) {  // two numbers of bf16 to a word, a column to two rows
        EXPECT_LT(distance(upper_halves(got), upper_halves(want), num_results(shape) / 4), 0x1p-8);
        continue;
      }
      EXPECT_LT(distance(got, want, num_results(shape)), 0x1p-23 * shape.columns / 16)
          << shape.rows << " x " << shape.columns << ", " << shape.tokens << " tokens in units of "
          << large.tokens << " split by " << large.split;
      task.is_exact = true;
      EXPECT_FALSE(has_shape(task, task.shape));
    }
  }
}

/// A token has the same bits wherever it stands among the others, and with any others.
TEST_P(CudaLinearTest, large_units_give_a_token_the_same_bits_anywhere) {
  if (!is_half(GetParam())) GTEST_SKIP() << "of 16-bit formats";
  const LinearShape shape = {"", GetParam(), 704, 2048, 700, Epilogue::kStore};
  const LinearCase linear(shape);
  LinearTask task = linear.task(RowForm::kDealt);
  task.shape = {256, 1, 128};
  const auto all = product(linear, task);
  // Rows of x repeat after 61.
  const auto rows = static_cast<std::size_t>(shape.rows);
  for (std::size_t i = 61 * rows; i < num_results(shape); ++i)
    ASSERT_EQ(all[i], all[i % (61 * rows)]) << "token " << i / rows << ", row " << i % rows;
}

/// Results where the next product wants them: the same numbers in another order.
TEST_P(CudaLinearTest, large_units_deal_gated_results) {
  const LinearShape shape = {"", GetParam(), 512, 704, 300, Epilogue::kSwiGlu};
  const LinearCase linear(shape);
  for (const WideShape& large : kLargeShapes) {
    for (const Element element : {Element::kBf16, Element::kF16}) {
      LinearTask task = linear.task(RowForm::kDealt);
      task.shape = large;
      task.out_element = element;
      if (!has_shape(task, large)) GTEST_SKIP() << "has no large units";
      const auto plain = product(linear, task);
      const auto half = [](const std::vector<std::uint32_t>& words, int i) {
        return words[static_cast<std::size_t>(i / 2)] >> i % 2 * 16 & 0xffffU;
      };
      const int columns = shape.rows / 2;
      for (const int run : {2, 4, 8}) {
        task.out_run = run;
        const auto dealt = product(linear, task);
        for (int i = 0; i < shape.tokens * columns; ++i) {
          const int row = i - i % columns;
          ASSERT_EQ(half(plain, i), half(dealt, row + dealt_column(i % columns, 2, run)))
              << large.tokens << " split by " << large.split << ", run " << run << ", " << i;
        }
      }
    }
  }
}

/// kAdd, to numbers that aren't zero: a product added to itself.
TEST_P(CudaLinearTest, large_units_add_to_what_is_there) {
  const LinearShape shape = {"", GetParam(), 448, 704, 300, Epilogue::kAdd};
  const LinearCase linear(shape);
  for (const WideShape& large : kLargeShapes) {
    LinearTask task = linear.task(RowForm::kDealt);
    task.shape = large;
    if (!has_shape(task, large)) GTEST_SKIP() << "has no large units";
    const auto once = product(linear, task);
    const Stream stream;
    cuda::linear(task, stream.get());
    check_launch("a second product");
    stream.synchronize("a second product");
    const auto twice = linear.results();
    for (std::size_t i = 0; i < num_results(shape); ++i)
      ASSERT_EQ(2 * std::bit_cast<float>(once[i]), std::bit_cast<float>(twice[i])) << i;
  }
}

/// Gates from -96 to 96, times one: far below a rounding of bf16, 2^-9, off SwiGLU in double.
TEST_P(CudaLinearTest, large_units_are_near_swiglu) {
  if (GetParam() != MatrixLayout::kBf16) GTEST_SKIP() << "f32 sums of all formats are alike";
  const LinearShape shape = {"", MatrixLayout::kBf16, 8192, 64, 130, Epilogue::kSwiGlu};
  const LinearCase linear(shape);
  LinearTask task = linear.task(RowForm::kDealt);
  task.out_element = Element::kF32;
  const int columns = shape.rows / 2;
  const auto gate_of = [&](int column) {
    return bf16_to_f32(
        f32_to_bf16(-96.0F + 192.0F * static_cast<float>(column) / static_cast<float>(columns)));
  };
  std::vector<std::byte> weights(linear.matrix_bytes());
  const auto put = [](std::vector<std::byte>& to, std::size_t at, float value) {
    const std::uint16_t bits = f32_to_bf16(value);
    std::memcpy(&to[at], &bits, sizeof bits);
  };
  for (int column = 0; column < columns; ++column) {
    const int gate_row = column / kTileRows * 2 * kTileRows + column % kTileRows;
    put(weights, static_cast<std::size_t>(element_offset(task.matrix, gate_row, 0)),
        gate_of(column));
    put(weights, static_cast<std::size_t>(element_offset(task.matrix, gate_row + kTileRows, 0)), 1);
  }
  const std::size_t row_bytes = 2 * static_cast<std::size_t>(shape.columns);
  std::vector<std::byte> rows(static_cast<std::size_t>(shape.tokens) * row_bytes);
  for (std::size_t at = 0; at < rows.size(); at += row_bytes) put(rows, at, 1);
  check(cudaMemcpy(const_cast<std::byte*>(static_cast<const std::byte*>(task.matrix.data)),
                   weights.data(), weights.size(), cudaMemcpyHostToDevice),
        "filling weights");
  check(cudaMemcpy(task.x.values, rows.data(), rows.size(), cudaMemcpyHostToDevice),
        "filling rows");
  for (const WideShape& large : kLargeShapes) {
    task.shape = large;
    const auto got = product(linear, task);
    for (int i = 0; i < shape.tokens * columns; ++i) {
      const double gate = gate_of(i % columns);
      const double want = gate / (1 + std::exp(-gate));
      ASSERT_NEAR(std::bit_cast<float>(got[static_cast<std::size_t>(i)]), want,
                  0x1p-16 * std::abs(want) + 1e-35)
          << gate;
    }
  }
}

TEST_P(CudaLinearTest, rows_in_the_wrong_order_are_noticed) {
  LinearShape shape = kCases[4];
  shape.layout = GetParam();
  const LinearCase linear(shape);
  LinearTask task = linear.task(RowForm::kDealt);
  task.x.values = linear.task(RowForm::kPlain).x.values;
  EXPECT_NE(product(linear, task), product_by_few(linear));
}

/// int4, from packed numbers in host memory: the formula of linear_int4.cu in double.
class Int4Reference {
 public:
  explicit Int4Reference(const LinearTask& task) : matrix_(task.matrix) {
    const auto tokens = static_cast<std::size_t>(task.num_tokens);
    const auto groups = static_cast<std::size_t>(matrix_.num_groups);
    const auto rows = static_cast<std::size_t>(matrix_.rows);
    const auto padded = static_cast<std::size_t>(matrix_.padded_columns);
    read(weights_, task.matrix.data, rows * padded / 2);
    read(zeros_, task.matrix.zeros, rows * groups);
    read(scales_, task.matrix.scales, rows * groups);
    read(x_, task.x.values, tokens * padded);
    read(x_scales_, task.x.scales, tokens * groups);
  }
  [[nodiscard]] double result(int token, int row) const {
    double sum = 0;
    for (int column = 0; column < matrix_.columns; ++column) {
      const int group = column / matrix_.group_size;
      const int at = padded_column(matrix_, column);
      const auto byte = weights_[static_cast<std::size_t>(element_offset(matrix_, row, at))];
      const int tile_group = row / kTileRows * matrix_.num_groups + group;
      const auto scale = static_cast<std::size_t>(tile_group * kTileRows + row % kTileRows);
      const int code = (byte >> int4_shift(at) & 15) - zeros_[scale];
      sum += double{scales_[scale]} * code *
             x_[static_cast<std::size_t>(token * matrix_.padded_columns + at)] *
             x_scales_[static_cast<std::size_t>(token * matrix_.num_groups + group)];
    }
    return sum;
  }

 private:
  template <class T>
  static void read(std::vector<T>& to, const void* from, std::size_t count) {
    to.resize(count);
    check(cudaMemcpy(to.data(), from, count * sizeof(T), cudaMemcpyDeviceToHost), "reading");
  }
  MatrixView matrix_;
  std::vector<std::uint8_t> weights_, zeros_;
  std::vector<std::int8_t> x_;
  std::vector<float> scales_, x_scales_;
};

TEST_P(CudaLinearTest, int4_products_are_those_of_the_formula) {
  if (GetParam() != MatrixLayout::kInt4) GTEST_SKIP() << "of int4";
  std::vector<LinearShape> shapes(std::begin(kCases), std::end(kCases));
  // For few tokens: scales in shared memory, and so many that they find no room there.
  shapes.push_back({"", MatrixLayout::kInt4, 64, 2048, 5, Epilogue::kStore, 128});
  shapes.push_back({"", MatrixLayout::kInt4, 64, 14336, 8, Epilogue::kStore, 16});
  for (LinearShape shape : shapes) {
    if (shape.epilogue == Epilogue::kSwiGlu) continue;
    shape.layout = GetParam();
    const LinearCase linear(shape);
    const RowForm form = shape.tokens > 8 ? RowForm::kDealt : RowForm::kPlain;
    const auto got = product(linear, linear.task(form));
    const Int4Reference reference(linear.task(RowForm::kPlain));
    double off = 0;
    double norm = 0;
    for (int token = 0; token < shape.tokens; token += 3) {
      for (int row = 0; row < shape.rows; row += 5) {
        const double want = reference.result(token, row);
        const double value =
            std::bit_cast<float>(got[static_cast<std::size_t>(token * shape.rows + row)]);
        off += (value - want) * (value - want);
        norm += want * want;
      }
    }
    // Each group adds a rounding of its scale and one of the sum, 2^-24 of a number at most.
    const int groups = shape.columns / shape.group_size;
    EXPECT_LT(std::sqrt(off / norm), 0x1p-23 * std::sqrt(groups)) << shape.columns;
    EXPECT_GT(norm, 0);
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, CudaLinearTest,
                         testing::Values(MatrixLayout::kBf16, MatrixLayout::kF16,
                                         MatrixLayout::kInt8, MatrixLayout::kInt8Bf16,
                                         MatrixLayout::kInt8F16, MatrixLayout::kFp8,
                                         MatrixLayout::kInt4),
                         name_of);

}  // namespace
}  // namespace iol::cuda
