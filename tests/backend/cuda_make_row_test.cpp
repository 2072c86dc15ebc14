// Products whose blocks make the row themselves against a row made by a kernel before. Needs a
// GPU.
#include <gtest/gtest.h>

#include "backend/cuda/cuda_device.h"
#include "bench/kernels/linear_case.h"

namespace iol::cuda {
namespace {

struct MakingCase {
  int rows, columns;
  bool has_norm;
  Element element;
  Epilogue epilogue;
};

// Rows of one run of columns, of several, and that end within one; large matrices.
const MakingCase kCases[] = {
    {64, 64, true, Element::kF32, Epilogue::kStore},
    {192, 1472, true, Element::kF32, Epilogue::kSwiGlu},
    {256, 2048, true, Element::kF32, Epilogue::kSwiGlu},
    {448, 2048, false, Element::kBf16, Epilogue::kAdd},
    {128, 3008, true, Element::kF32, Epilogue::kStore},
    {128, 4096, true, Element::kF32, Epilogue::kStore},
    {128, 5632, false, Element::kF32, Epilogue::kAdd},
    {128, 5632, false, Element::kF16, Epilogue::kSwiGlu},
    {64, 8192, true, Element::kF32, Epilogue::kSwiGlu},
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

DeviceBuffer random_numbers(std::size_t count, Element element, std::uint64_t seed) {
  RandomStream random(seed);
  DeviceBuffer buffer(count * static_cast<std::size_t>(element_bytes(element)), "numbers");
  std::vector<float> numbers(count);
  for (auto& number : numbers) number = static_cast<float>(random.uniform() * 6 - 3);
  std::vector<std::uint16_t> halves;
  for (const float number : numbers)
    halves.push_back(element == Element::kBf16 ? f32_to_bf16(number) : f32_to_f16(number));
  const void* from = element == Element::kF32 ? static_cast<const void*>(numbers.data())
                                              : static_cast<const void*>(halves.data());
  copy_to_device(buffer.data(), from, buffer.size_bytes(), "numbers");
  return buffer;
}

TEST_P(CudaMakeRowTest, products_have_the_bits_of_a_row_made_before) {
  const Stream stream;
  for (const MakingCase& shape : kCases) {
    const LinearCase linear({"", GetParam(), shape.rows, shape.columns, 1, shape.epilogue});
    const auto size = static_cast<std::size_t>(shape.columns);
    const DeviceBuffer x = random_numbers(size, shape.element, 5);
    const DeviceBuffer norm = random_numbers(size, Element::kF32, 6);
    const RowSource source = {x.data(), shape.element, shape.columns,
                              shape.has_norm ? norm.as<const float>() : nullptr, 1e-5};
    LinearTask task = linear.task(RowForm::kPlain);
    ASSERT_TRUE(can_make_row(task.matrix, 1)) << shape.columns;

    const DeviceBuffer values(size * 2, "rows");
    const DeviceBuffer scales(4, "scales");
    PrepareTask prepare;
    prepare.source = source;
    prepare.num_rows = 1;
    prepare.matrix = task.matrix;
    prepare.out.values = values.data();
    prepare.out.scales = scales.as<float>();
    prepare_rows(prepare, stream.get());
    task.x = prepare.out;
    linear.clear();
    cuda::linear(task, stream.get());
    stream.synchronize("a product");
    const auto want = linear.results();

    task.x = {nullptr, nullptr, nullptr, RowForm::kUnmade, source};
    linear.clear();
    cuda::linear(task, stream.get());
    check_launch("a product");
    stream.synchronize("a product");
    EXPECT_EQ(linear.results(), want) << shape.rows << " x " << shape.columns;
    EXPECT_NE(want, std::vector<std::uint32_t>(want.size(), 0));
  }
}

TEST(CudaMakeRow, only_one_and_a_short_row_is_made_by_the_product) {
  MatrixView matrix;
  matrix.layout = MatrixLayout::kBf16;
  matrix.columns = matrix.padded_columns = 2048;
  EXPECT_TRUE(can_make_row(matrix, 1));
  EXPECT_FALSE(can_make_row(matrix, 2));
  matrix.columns = matrix.padded_columns = 1 << 20;
  EXPECT_FALSE(can_make_row(matrix, 1));
  matrix.columns = 2046;  // not whole fours
  matrix.padded_columns = 2048;
  EXPECT_FALSE(can_make_row(matrix, 1));
}

INSTANTIATE_TEST_SUITE_P(Formats, CudaMakeRowTest,
                         testing::Values(MatrixLayout::kBf16, MatrixLayout::kF16,
                                         MatrixLayout::kInt8, MatrixLayout::kInt8Bf16,
                                         MatrixLayout::kInt8F16, MatrixLayout::kFp8));

}  // namespace
}  // namespace iol::cuda
