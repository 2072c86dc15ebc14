// Products that make codes of bf16 rows themselves against those of rows that a kernel has coded,
// and steps of a model whose matrices are large enough for it against one step of all tokens. Needs
// a GPU.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <vector>

#include "backend/cuda/cuda_backend.h"
#include "backend/cuda/cuda_device.h"
#include "backend/cuda/kernels/kernel_level.h"
#include "base/dtype.h"
#include "bench/kernels/linear_case.h"
#include "tests/backend/device_model.h"
#include "tests/backend/device_numbers.h"
#include "tests/backend/linear_product.h"

namespace iol::cuda {
namespace {

constexpr int kSize = 4096;

std::vector<float> random_numbers(std::size_t count, double least, double most,
                                  std::uint64_t seed) {
  RandomStream random(seed);
  std::vector<float> numbers(count);
  for (float& number : numbers)
    number = static_cast<float>(least + random.uniform() * (most - least));
  return numbers;
}

/// Bits of the largest magnitude of each row.
std::vector<std::uint32_t> largest_of_rows(const std::vector<float>& rows, int columns) {
  std::vector<std::uint32_t> largest(rows.size() / static_cast<std::size_t>(columns));
  for (std::size_t i = 0; i < rows.size(); ++i) {
    std::uint32_t& most = largest[i / static_cast<std::size_t>(columns)];
    most = std::max(most, std::bit_cast<std::uint32_t>(std::abs(rows[i])));
  }
  return largest;
}

/// Rows of random numbers, their magnitudes by row from 2^-6 on, as a kernel makes them.
class PreparedRows {
 public:
  PreparedRows(int tokens, bool has_norm)
      : tokens_(tokens),
        numbers_(random_numbers(static_cast<std::size_t>(tokens) * kSize, -1, 1, 5)),
        values_(static_cast<std::size_t>(tokens) * kSize * 2, "rows"),
        scales_(static_cast<std::size_t>(tokens) * 4, "scales"),
        squares_(static_cast<std::size_t>(tokens) * sizeof(SquareSum), "squares") {
    for (std::size_t i = 0; i < numbers_.size(); ++i)
      numbers_[i] = std::ldexp(numbers_[i], static_cast<int>(i / kSize) - 6);
    source_ = upload(numbers_);
    if (!has_norm) return;
    const auto weights = random_numbers(kSize, -0.5, 1.5, 6);
    norm_ = upload(weights);
    for (std::size_t i = 0; i < numbers_.size(); ++i) numbers_[i] *= weights[i % kSize];
  }
  /// For a matrix of that layout.
  [[nodiscard]] OperandRows make(MatrixLayout layout) const {
    PrepareTask task;
    task.source = {source_.data(), Element::kF32, kSize, norm(), 1e-5, {}};
    task.num_rows = tokens_;
    task.matrix = view_of({"", layout, kSize, kSize, tokens_, Epilogue::kStore});
    task.out.values = values_.data();
    task.out.scales = scales_.as<float>();
    task.out.squares = norm() == nullptr ? nullptr : squares_.as<SquareSum>();
    task.out.eps = 1e-5F;
    const Stream stream;
    prepare_rows(task, stream.get());
    check_launch("preparing rows");
    stream.synchronize("preparing rows");
    return task.out;
  }
  /// With the norm's weights, but for its factor.
  [[nodiscard]] const std::vector<float>& numbers() const { return numbers_; }

 private:
  [[nodiscard]] const float* norm() const {
    return norm_.data() == nullptr ? nullptr : norm_.as<const float>();
  }
  int tokens_;
  std::vector<float> numbers_;
  DeviceBuffer source_, norm_, values_, scales_, squares_;
};

std::vector<std::uint32_t> product_of(const LinearCase& linear, const OperandRows& x) {
  LinearTask task = linear.task(RowForm::kPlain);
  task.x = x;
  return product(linear, task);
}

class CudaCodedRows : public testing::Test {
 protected:
  void SetUp() override {
    if (cuda_status().devices.empty()) GTEST_SKIP() << cuda_status().reason;
  }
};

TEST_F(CudaCodedRows, products_have_the_bits_of_rows_that_a_kernel_has_coded) {
  for (const Epilogue epilogue : {Epilogue::kStore, Epilogue::kAdd, Epilogue::kSwiGlu}) {
    for (const bool has_norm : {false, true}) {
      for (const int tokens : {2, 5, 8}) {
        const LinearCase linear({"", MatrixLayout::kFp8, kSize, kSize, tokens, epilogue});
        const PreparedRows rows(tokens, has_norm);
        const auto want = product_of(linear, rows.make(MatrixLayout::kFp8));
        OperandRows plain = rows.make(MatrixLayout::kBf16);
        const auto largest = largest_of_rows(rows.numbers(), kSize);
        const DeviceBuffer place = upload(largest);
        plain.largest = place.as<const std::uint32_t>();
        EXPECT_EQ(product_of(linear, plain), want)
            << tokens << " tokens, epilogue " << static_cast<int>(epilogue)
            << (has_norm ? ", with a norm" : "");
      }
    }
  }
}

TEST_F(CudaCodedRows, gated_products_leave_the_largest_magnitude_of_each_row) {
  for (const MatrixLayout layout :
       {MatrixLayout::kBf16, MatrixLayout::kInt8Bf16, MatrixLayout::kFp8}) {
    for (const int rows : {320, kSize}) {
      for (const int tokens : {2, 7, 8}) {
        const LinearCase linear(
            {"", layout, rows, kSize, tokens, Epilogue::kSwiGlu, 128, kModelMagnitude});
        const auto columns = static_cast<std::size_t>(rows / 2);
        const std::size_t count = static_cast<std::size_t>(tokens) * columns;
        const DeviceBuffer out(count * 4, "gated results");
        const std::vector<std::uint32_t> zeros(static_cast<std::size_t>(tokens));
        const DeviceBuffer largest = upload(zeros);
        LinearTask task = linear.task(RowForm::kPlain);
        task.out = out.data();
        task.out_element = Element::kF32;
        const Stream stream;
        cuda::linear(task, stream.get());
        stream.synchronize("a product");
        const auto want = download<float>(out);
        task.out_element = Element::kBf16;
        task.next_largest = largest.as<std::uint32_t>();
        cuda::linear(task, stream.get());
        check_launch("products");
        stream.synchronize("a product");
        const std::string what =
            fmt::format("{}, {} rows, {} tokens", layout_name(layout), rows, tokens);
        EXPECT_EQ(download<std::uint32_t>(largest), largest_of_rows(want, rows / 2)) << what;
        auto got = download<std::uint16_t>(out);
        got.resize(count);
        for (std::size_t i = 0; i < count; ++i)
          ASSERT_EQ(got[i], f32_to_bf16(want[i])) << what << ", result " << i;
      }
    }
  }
}

TEST_F(CudaCodedRows, are_few_rows_of_fp8_matrices_where_an_instruction_makes_codes) {
  MatrixView matrix;
  matrix.layout = MatrixLayout::kFp8;
  matrix.rows = matrix.columns = matrix.padded_columns = kSize;
  EXPECT_EQ(codes_rows(matrix, 2), takes_hopper_kernels());
  EXPECT_EQ(codes_rows(matrix, kMostCodedTokens), takes_hopper_kernels());
  EXPECT_FALSE(codes_rows(matrix, 1));
  EXPECT_FALSE(codes_rows(matrix, kMostCodedTokens + 1));
  matrix.layout = MatrixLayout::kInt8;
  EXPECT_FALSE(codes_rows(matrix, 2));
}

}  // namespace
}  // namespace iol::cuda

namespace iol::test {
namespace {

/// Two layers, so that rows are left by all four products.
TransformerShape large_shape(int heads, int kv_heads, int head_dim) {
  TransformerShape shape = small_shape(heads, kv_heads, head_dim);
  shape.hidden_size = shape.intermediate_size = cuda::kSize;
  return shape;
}

class CudaCodedSteps : public testing::TestWithParam<DType> {
 protected:
  void SetUp() override {
    if (cuda_status().devices.empty()) GTEST_SKIP() << cuda_status().reason;
  }
};

TEST_P(CudaCodedSteps, few_tokens_have_the_bits_of_one_step) {
  constexpr int kTokens = 280;  // the steps cross into a second chunk of attention
  constexpr int kPrompt = 240;
  for (const TransformerShape& shape : {large_shape(32, 8, 128), large_shape(64, 8, 64)}) {
    const TestModel model = random_model(shape, true, false, {}, GetParam(), 31);
    const auto open_device = [&] {
      return DeviceModel(model, make_cuda_backend({0, 4, GetParam(), true}),
                         DeviceFormats{DType::kF8E4M3, WeightFormat::kFp8, 16});
    };
    DeviceModel device = open_device();
    std::vector<DeviceModel::Stream> streams;
    std::vector<std::vector<std::vector<float>>> whole;
    for (std::uint64_t s = 0; s < 3; ++s) {
      streams.push_back(device.open(random_tokens(kTokens, shape.vocab_size, 40 + s)));
      auto alone = device.open(streams.back().tokens);
      whole.push_back(device.step({{&alone, kTokens}}));
      device.close(alone);
    }
    for (auto& stream : streams) device.step({{&stream, kPrompt}});
    // Decodes, drafts under verification, the same again by a captured graph, and one alone.
    const int counts[][3] = {{1, 1, 0}, {1, 1, 0}, {4, 1, 3}, {4, 1, 3}, {2, 6, 0},
                             {1, 0, 0}, {8, 0, 0}, {1, 1, 1}, {5, 9, 2}};
    for (const auto& step : counts) {
      std::vector<std::pair<DeviceModel::Stream*, int>> parts;
      std::vector<std::vector<float>> want;
      for (std::size_t s = 0; s < 3; ++s) {
        if (step[s] == 0) continue;
        parts.emplace_back(&streams[s], step[s]);
        for (int t = 0; t < step[s]; ++t)
          want.push_back(whole[s][static_cast<std::size_t>(streams[s].num_done + t)]);
      }
      ASSERT_EQ(device.step(parts), want) << step[0] << ", " << step[1] << ", " << step[2];
    }
  }
}

INSTANTIATE_TEST_SUITE_P(EveryDtype, CudaCodedSteps,
                         testing::Values(DType::kBF16, DType::kF16, DType::kF32),
                         [](const auto& info) { return std::string(dtype_name(info.param)); });

}  // namespace
}  // namespace iol::test
