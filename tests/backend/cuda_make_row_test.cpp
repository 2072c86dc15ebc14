// Products whose blocks make the row themselves against a row made by a kernel before. Needs a
// GPU.
#include <gtest/gtest.h>

#include <algorithm>

#include "backend/cuda/cuda_device.h"
#include "bench/kernels/linear_case.h"
#include "tests/backend/prepared_row.h"

namespace iol::cuda {
namespace {

struct MakingCase {
  int rows, columns;
  bool has_norm;
  Element element;
  Epilogue epilogue;
  bool is_known = true;  // the row's largest, before it is read
};

// Parts of one run of columns, of several, and that end within one; large matrices.
const MakingCase kCases[] = {
    {64, 64, true, Element::kF32, Epilogue::kStore},
    {192, 1472, true, Element::kF32, Epilogue::kSwiGlu},
    {256, 2048, true, Element::kF32, Epilogue::kSwiGlu},
    {448, 2048, false, Element::kBf16, Epilogue::kAdd},
    {448, 2048, false, Element::kBf16, Epilogue::kAdd, false},
    {128, 3008, true, Element::kF32, Epilogue::kStore},
    {128, 4096, true, Element::kF32, Epilogue::kStore},
    {128, 5632, false, Element::kF32, Epilogue::kAdd},
    {128, 5632, false, Element::kF16, Epilogue::kSwiGlu},
    {64, 8192, true, Element::kF32, Epilogue::kSwiGlu},
    {64, 14336, false, Element::kF32, Epilogue::kAdd},
    {4160, 4096, true, Element::kF32, Epilogue::kStore},
    {8192, 4096, true, Element::kF32, Epilogue::kSwiGlu},
    {4096, 8192, false, Element::kBf16, Epilogue::kAdd},
};

class CudaMakeRowTest : public testing::TestWithParam<MatrixLayout> {
 protected:
  void SetUp() override {
    if (cuda_status().devices.empty()) GTEST_SKIP() << cuda_status().reason;
  }
};

/// Random numbers as `element` holds them.
std::vector<float> random_numbers(int count, Element element, std::uint64_t seed) {
  RandomStream random(seed);
  std::vector<float> numbers(static_cast<std::size_t>(count));
  for (auto& number : numbers) {
    number = static_cast<float>(random.uniform() * 6 - 3);
    if (element == Element::kBf16) number = bf16_to_f32(f32_to_bf16(number));
    if (element == Element::kF16) number = f16_to_f32(f32_to_f16(number));
  }
  return numbers;
}

DeviceBuffer on_device(const std::vector<float>& numbers, Element element) {
  DeviceBuffer buffer(numbers.size() * static_cast<std::size_t>(element_bytes(element)), "numbers");
  std::vector<std::uint16_t> halves;
  for (const float number : numbers)
    halves.push_back(element == Element::kBf16 ? f32_to_bf16(number) : f32_to_f16(number));
  const void* from = element == Element::kF32 ? static_cast<const void*>(numbers.data())
                                              : static_cast<const void*>(halves.data());
  copy_to_device(buffer.data(), from, buffer.size_bytes(), "numbers");
  return buffer;
}

template <class Number>
std::vector<Number> numbers_of(const Number* data, std::size_t count) {
  std::vector<Number> numbers(count);
  check(cudaMemcpy(numbers.data(), data, count * sizeof(Number), cudaMemcpyDeviceToHost),
        "reading numbers");
  return numbers;
}

TEST_P(CudaMakeRowTest, products_have_the_bits_of_a_row_made_before) {
  const Stream stream;
  for (const MakingCase& shape : kCases) {
    const LinearCase linear({"", GetParam(), shape.rows, shape.columns, 1, shape.epilogue});
    const auto numbers = random_numbers(shape.columns, shape.element, 5);
    const auto weights = random_numbers(shape.has_norm ? shape.columns : 0, Element::kF32, 6);
    const DeviceBuffer x = on_device(numbers, shape.element);
    const DeviceBuffer norm = on_device(weights, Element::kF32);
    const RowTraitsOnDevice traits(RowTraitsOnHost(numbers, weights));
    LinearTask task = linear.task(RowForm::kPlain);
    const bool is_known = shape.is_known && is_coded(task.matrix.layout);
    const RowSource source = {x.data(),      shape.element,
                              shape.columns, shape.has_norm ? norm.as<const float>() : nullptr,
                              1e-5,          is_known ? traits.view() : RowTraits()};
    if (shape.columns > 8192 && !is_coded(task.matrix.layout)) continue;
    ASSERT_TRUE(can_make_row(task.matrix, 1, source)) << shape.columns;

    const PreparedRow row(source, task.matrix, stream);
    task.x = row.rows();
    linear.clear();
    cuda::linear(task, stream.get());
    stream.synchronize("a product");
    const auto want = linear.results();

    task.x = {};
    task.x.form = RowForm::kUnmade;
    task.x.source = source;
    linear.clear();
    cuda::linear(task, stream.get());
    check_launch("a product");
    stream.synchronize("a product");
    EXPECT_EQ(linear.results(), want) << shape.rows << " x " << shape.columns;
    EXPECT_NE(want, std::vector<std::uint32_t>(want.size(), 0));
  }
}

TEST_P(CudaMakeRowTest, products_leave_what_the_next_one_wants_to_know) {
  if (!is_coded(GetParam())) GTEST_SKIP() << "of codes";
  const Stream stream;
  for (const Epilogue epilogue : {Epilogue::kAdd, Epilogue::kSwiGlu}) {
    const bool is_gated = epilogue == Epilogue::kSwiGlu;
    const LinearCase linear({"", GetParam(), 448, 2048, 1, epilogue});
    const auto columns = static_cast<std::size_t>(is_gated ? 448 / 2 : 448 - 24);  // of 448
    const auto weights = random_numbers(is_gated ? 0 : static_cast<int>(columns), Element::kF32, 6);
    const DeviceBuffer norm = on_device(weights, Element::kF32);
    const std::size_t tiles = (columns + kTileRows - 1) / kTileRows;
    const RowTraitsOnDevice left(RowTraitsOnHost(std::vector<float>(448), {}));
    LinearTask task = linear.task(RowForm::kUnmade);
    task.out_columns = static_cast<int>(columns);
    task.out_element = Element::kF32;
    task.left = left.view();
    task.next_norm = is_gated ? nullptr : norm.as<const float>();
    linear.clear();
    cuda::linear(task, stream.get());
    check_launch("a product");
    stream.synchronize("a product");
    const auto row = numbers_of(static_cast<const float*>(task.out), columns);
    const RowTraitsOnHost want(row, weights);
    EXPECT_EQ(numbers_of(left.view().largest, tiles), want.largest);
    if (!is_gated) {
      EXPECT_EQ(numbers_of(left.view().squares, tiles), want.squares);
    }
    EXPECT_GT(*std::ranges::min_element(want.largest), 0);
  }
}

TEST(CudaMakeRow, only_one_and_a_short_row_whose_squares_are_known_is_made_by_the_product) {
  MatrixView matrix;
  matrix.layout = MatrixLayout::kInt8;
  matrix.columns = matrix.padded_columns = 2048;
  float numbers = 0;
  RowSource source;
  EXPECT_TRUE(can_make_row(matrix, 1, source));
  EXPECT_FALSE(can_make_row(matrix, 2, source));
  source.norm = &numbers;
  EXPECT_FALSE(can_make_row(matrix, 1, source));
  matrix.layout = MatrixLayout::kBf16;  // which the product finds by itself
  EXPECT_TRUE(can_make_row(matrix, 1, source));
  matrix.layout = MatrixLayout::kInt8;
  SquareSum squares = 0;
  source.traits.squares = &squares;
  EXPECT_TRUE(can_make_row(matrix, 1, source));
  matrix.columns = matrix.padded_columns = 1 << 20;
  EXPECT_FALSE(can_make_row(matrix, 1, source));
  matrix.columns = 2046;  // not whole fours
  matrix.padded_columns = 2048;
  EXPECT_FALSE(can_make_row(matrix, 1, source));
}

INSTANTIATE_TEST_SUITE_P(Formats, CudaMakeRowTest, testing::ValuesIn(kLayoutsOfMadeRows));

}  // namespace
}  // namespace iol::cuda
