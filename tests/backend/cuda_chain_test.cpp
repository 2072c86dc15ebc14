// Products in one kernel against a kernel each. Needs a GPU.
#include <gtest/gtest.h>

#include <span>

#include "backend/cuda/cuda_device.h"
#include "backend/cuda/product_chain.h"
#include "bench/kernels/chain_case.h"
#include "tests/backend/prepared_row.h"

namespace iol::cuda {
namespace {

// Fewer units than there are multiprocessors, and parts of K without a block; rows of several
// turns; units that not all blocks have; the shapes of models.
const LayerShape kLayers[] = {{"tiny", 64, 64, 128, 192},
                              {"narrow", 192, 448, 1472, 320},
                              {"1b", 2048, 2048, 5632, 2560},
                              {"8b", 4096, 4096, 14336, 6144},
                              {"long rows", 8192, 8192, 28672, 10240}};
// Of whole groups; rows of three groups have parts of K without any.
const LayerShape kGroupedLayers[] = {
    {"demo", 384, 384, 1024, 640}, kLayers[2], kLayers[3], kLayers[4]};

std::span<const LayerShape> layers_of(MatrixLayout layout) {
  if (layout == MatrixLayout::kInt4) return kGroupedLayers;
  return kLayers;
}

class CudaChainTest : public testing::TestWithParam<MatrixLayout> {
 protected:
  void SetUp() override {
    if (cuda_status().devices.empty()) GTEST_SKIP() << cuda_status().reason;
  }
};

/// Each product by a kernel of its own, of a row that a kernel made before.
void multiply_apart(const ChainCase& layer, const Stream& stream) {
  for (LinearTask task : layer.tasks()) {
    const PreparedRow row(task.x.source, task.matrix, stream);
    task.x = row.rows();
    linear(task, stream.get());
    check_launch("a product");
    stream.synchronize("a product");
  }
}

TEST_P(CudaChainTest, has_the_bits_of_a_kernel_for_each_product) {
  const Stream stream;
  for (const LayerShape& shape : layers_of(GetParam())) {
    const ChainCase layer(shape, GetParam());
    const auto tasks = layer.tasks();
    for (std::size_t i = 0; i < tasks.size(); ++i) {
      if (!can_be_link(tasks[i], i == 0)) GTEST_SKIP() << "of compute capability 9.0";
      if (i > 0) {
        ASSERT_TRUE(are_linked(tasks[i - 1], tasks[i]));
      }
    }
    layer.reset();
    multiply_apart(layer, stream);
    const auto want = layer.results();
    for (const int links : {kMostLinks, kMostLinks, kLeastLinks, kMostLinks}) {
      layer.reset();
      linear_chain({tasks.data(), links, layer.scratch()}, stream.get());
      check_launch("a chain");
      stream.synchronize("a chain");
      EXPECT_EQ(std::memcmp(layer.results().data(), want.data(), want.size() * 4), 0)
          << shape.name << ", " << links << " links";
    }
    EXPECT_NE(want, std::vector<float>(want.size(), 0));
  }
}

TEST_P(CudaChainTest, chains_behind_each_other_wait_for_each_other) {
  const Stream stream;
  const ChainCase layer(kLayers[2], GetParam());
  const auto tasks = layer.tasks();
  if (!can_be_link(tasks[0], true)) GTEST_SKIP() << "of compute capability 9.0";
  constexpr int kTimes = 20;
  layer.reset();
  for (int i = 0; i < kTimes; ++i) multiply_apart(layer, stream);
  const auto want = layer.results();
  layer.reset();
  for (int i = 0; i < kTimes; ++i)
    linear_chain({tasks.data(), i % 3 == 0 ? kLeastLinks : kMostLinks, layer.scratch()},
                 stream.get());
  check_launch("chains");
  stream.synchronize("chains");
  EXPECT_EQ(std::memcmp(layer.results().data(), want.data(), want.size() * 4), 0);
}

class ProductChainTest : public testing::TestWithParam<MatrixLayout> {};

TEST_P(ProductChainTest, is_one_kernel_for_whoever_was_first) {
  if (cuda_status().devices.empty()) GTEST_SKIP() << cuda_status().reason;
  const Stream stream;
  const ChainCase layer(layers_of(GetParam())[2], GetParam());
  const auto tasks = layer.tasks();
  if (!can_be_link(tasks[0], true)) GTEST_SKIP() << "of compute capability 9.0";
  layer.reset();
  multiply_apart(layer, stream);
  const auto want = layer.results();
  ProductChain first(stream);
  ProductChain second(stream);
  const auto is_chain = [&](ProductChain& chain) {
    layer.reset();
    for (const LinearTask& task : tasks) chain.multiply(task);
    const bool is = chain.flush();
    stream.synchronize("products");
    EXPECT_EQ(std::memcmp(layer.results().data(), want.data(), want.size() * 4), 0);
    return is;
  };
  EXPECT_TRUE(is_chain(first));
  EXPECT_TRUE(is_chain(first));
  EXPECT_FALSE(is_chain(second));
}

INSTANTIATE_TEST_SUITE_P(Formats, ProductChainTest,
                         testing::Values(MatrixLayout::kBf16, MatrixLayout::kInt4));

INSTANTIATE_TEST_SUITE_P(Formats, CudaChainTest, testing::ValuesIn(kLayoutsOfMadeRows));
INSTANTIATE_TEST_SUITE_P(Groups, CudaChainTest, testing::Values(MatrixLayout::kInt4));

}  // namespace
}  // namespace iol::cuda
