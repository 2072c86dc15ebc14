// Rows that products leave for the next one against rows that a kernel makes of what they wrote.
// Needs a GPU.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <vector>

#include "backend/cuda/cuda_device.h"
#include "backend/cuda/kernels/kernel_level.h"
#include "bench/kernels/linear_case.h"
#include "tests/backend/device_numbers.h"
#include "tests/backend/wide_shapes.h"

namespace iol::cuda {
namespace {

struct Rows {
  std::vector<std::uint16_t> values;
  std::vector<SquareSum> squares;
  std::vector<std::uint32_t> largest;  // bits of magnitudes, of up to kMostCodedTokens rows
  bool operator==(const Rows&) const = default;
};

/// Room for rows of some tokens, and the norm's weights.
class NextRows {
 public:
  NextRows(int num_tokens, int columns)
      : num_tokens_(num_tokens),
        columns_(columns),
        values_(count() * 2, "rows"),
        squares_(static_cast<std::size_t>(num_tokens) * sizeof(SquareSum), "squares"),
        largest_(kMostCodedTokens * 4, "the largest"),
        norm_(static_cast<std::size_t>(columns) * 4, "a norm") {
    RandomStream random(7);
    host_norm_.resize(static_cast<std::size_t>(columns));
    for (float& weight : host_norm_) weight = static_cast<float>(random.uniform() * 2 - 0.5);
    copy_to_device(norm_.data(), host_norm_.data(), norm_.size_bytes(), "a norm");
  }
  [[nodiscard]] const float* norm() const { return norm_.as<const float>(); }
  [[nodiscard]] const std::vector<float>& host_norm() const { return host_norm_; }
  [[nodiscard]] NormedRows place(int run) const {
    return {values_.as<std::uint16_t>(), squares_.as<SquareSum>(), run};
  }
  /// Where the largest are left; null: of so many tokens they aren't.
  [[nodiscard]] std::uint32_t* largest() const {
    return num_tokens_ <= kMostCodedTokens ? largest_.as<std::uint32_t>() : nullptr;
  }
  void clear() const {
    check(cudaMemset(values_.data(), 0xff, values_.size_bytes()), "clearing rows");
    check(cudaMemset(squares_.data(), 0, squares_.size_bytes()), "clearing squares");
    check(cudaMemset(largest_.data(), 0, largest_.size_bytes()), "clearing the largest");
    check(cudaDeviceSynchronize(), "clearing");
  }
  [[nodiscard]] Rows read() const {
    return {download<std::uint16_t>(values_), download<SquareSum>(squares_),
            download<std::uint32_t>(largest_)};
  }

 private:
  [[nodiscard]] std::size_t count() const {
    return static_cast<std::size_t>(num_tokens_) * static_cast<std::size_t>(columns_);
  }

  int num_tokens_, columns_;
  DeviceBuffer values_, squares_, largest_, norm_;
  std::vector<float> host_norm_;
};

/// By a kernel of their own, of the f32 rows `hidden`, for a matrix of that layout, or of fp8
/// for one of bf16; the largest by this function.
Rows prepared(const NextRows& next, const void* hidden, const LinearShape& shape, RowForm form) {
  std::vector<float> numbers(static_cast<std::size_t>(shape.tokens) *
                             static_cast<std::size_t>(shape.rows));
  check(cudaMemcpy(numbers.data(), hidden, numbers.size() * 4, cudaMemcpyDeviceToHost),
        "reading rows");
  next.clear();
  PrepareTask task;
  task.source = {hidden, Element::kF32, shape.rows, next.norm(), 1e-5, {}};
  task.num_rows = shape.tokens;
  const bool is_fp8 = shape.layout == MatrixLayout::kFp8;
  const MatrixLayout layout = is_fp8 ? MatrixLayout::kBf16 : shape.layout;
  task.matrix = view_of({"", layout, 64, shape.rows, 1, Epilogue::kStore});
  task.out.values = next.place(0).values;
  task.out.squares = next.place(0).squares;
  task.out.form = form;
  const Stream stream;
  prepare_rows(task, stream.get());
  check_launch("preparing rows");
  stream.synchronize("preparing rows");
  Rows rows = next.read();
  if (next.largest() == nullptr) return rows;
  const auto columns = static_cast<std::size_t>(shape.rows);
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const float number = numbers[i] * next.host_norm()[i % columns];
    std::uint32_t& most = rows.largest[i / columns];
    most = std::max(most, std::bit_cast<std::uint32_t>(std::abs(number)));
  }
  return rows;
}

/// Adds the product twice, the second time leaving rows in `left`.
std::vector<std::uint32_t> add_twice(const LinearCase& linear, LinearTask task,
                                     const NormedRows& left, std::uint32_t* largest) {
  const Stream stream;
  linear.clear();
  cuda::linear(task, stream.get());
  task.next = left;
  task.next_largest = largest;
  cuda::linear(task, stream.get());
  check_launch("products");
  stream.synchronize("products");
  return linear.results();
}

class CudaNormedRowsTest : public testing::TestWithParam<MatrixLayout> {
 protected:
  void SetUp() override {
    if (cuda_status().devices.empty()) GTEST_SKIP() << cuda_status().reason;
  }
  /// In that shape; of no tokens: in the one for the product's size.
  static void compare(const LinearCase& linear, const NextRows& next, RowForm form,
                      const WideShape& wide) {
    const LinearShape& shape = linear.shape();
    LinearTask task = linear.task(form);
    task.is_exact = true;
    task.shape = wide;
    task.next_norm = next.norm();
    const auto want = add_twice(linear, task, {}, nullptr);
    const Rows want_rows = prepared(next, task.out, shape, form);
    next.clear();
    const auto got =
        add_twice(linear, task, next.place(run_pieces(shape.layout, form)), next.largest());
    const std::string what = fmt::format("{} x {}, {} tokens, blocks of {} x {} by {}{}",
                                         shape.rows, shape.columns, shape.tokens, wide.rows,
                                         wide.tokens, wide.split, wide.is_apart ? " apart" : "");
    EXPECT_EQ(got, want) << what;
    EXPECT_EQ(next.read(), want_rows) << what;
  }
};

TEST_P(CudaNormedRowsTest, rows_left_are_those_that_a_kernel_makes) {
  struct Size {
    int rows, columns;
  };
  for (const Size size : {Size{320, 704}, {448, 1472}, {4096, 4096}}) {
    for (const int tokens : {2, 5, 8, 9, 16, 40, 64, 100, 128}) {
      const LinearCase linear({"", GetParam(), size.rows, size.columns, tokens, Epilogue::kAdd});
      const NextRows next(tokens, size.rows);
      const RowForm form = row_form(linear.task(RowForm::kPlain).matrix, tokens, true);
      if (!leaves_normed_rows(linear.task(form).matrix, tokens, true)) {
        EXPECT_TRUE(tokens > 8 && (GetParam() == MatrixLayout::kFp8 || !takes_hopper_kernels()));
        continue;
      }
      compare(linear, next, form, {});
      if (form == RowForm::kPlain || size.rows > 1000) continue;
      for (const WideShape& wide : all_shapes()) {
        if (!is_large(wide) && has_shape(linear.task(form), wide))
          compare(linear, next, form, wide);
      }
    }
  }
}

TEST(CudaNormedRows, are_left_of_several_tokens_by_operands_of_bf16_and_of_few_by_fp8) {
  MatrixView matrix;
  matrix.layout = MatrixLayout::kBf16;
  matrix.rows = matrix.columns = matrix.padded_columns = 2048;
  EXPECT_TRUE(leaves_normed_rows(matrix, 2, false));
  EXPECT_TRUE(leaves_normed_rows(matrix, 8, false));
  EXPECT_FALSE(leaves_normed_rows(matrix, 1, false));
  EXPECT_FALSE(leaves_normed_rows(matrix, kMostNormedTokens + 1, false));
  matrix.layout = MatrixLayout::kF16;
  EXPECT_FALSE(leaves_normed_rows(matrix, 2, false));
  matrix.layout = MatrixLayout::kFp8;
  EXPECT_FALSE(leaves_normed_rows(matrix, 1, false));
  EXPECT_TRUE(leaves_normed_rows(matrix, 2, false));
  EXPECT_TRUE(leaves_normed_rows(matrix, kMostCodedTokens, false));
  EXPECT_FALSE(leaves_normed_rows(matrix, kMostCodedTokens + 1, false));
}

INSTANTIATE_TEST_SUITE_P(Formats, CudaNormedRowsTest,
                         testing::Values(MatrixLayout::kBf16, MatrixLayout::kInt8Bf16,
                                         MatrixLayout::kFp8),
                         [](const auto& info) {
                           return info.param == MatrixLayout::kBf16  ? "bf16"
                                  : info.param == MatrixLayout::kFp8 ? "fp8"
                                                                     : "int8_wo";
                         });

}  // namespace
}  // namespace iol::cuda
