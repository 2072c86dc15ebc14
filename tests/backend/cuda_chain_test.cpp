// Products in one kernel against a kernel each. Needs a GPU.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

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
                              {"70b", 8192, 8192, 28672, 10240}};
// Of whole groups; rows of three groups have parts of K without any.
const LayerShape kGroupedLayers[] = {
    {"demo", 384, 384, 1024, 640}, kLayers[2], kLayers[3], kLayers[4]};

using Layer = std::tuple<MatrixLayout, LayerShape>;

std::string layer_name(const testing::TestParamInfo<Layer>& info) {
  const auto& [layout, shape] = info.param;
  std::string name = layout_name(layout);
  std::ranges::replace(name, '-', '_');
  if (layout == MatrixLayout::kInt8F16) name += "_f16";
  return name + "_" + shape.name;
}

class CudaChainTest : public testing::TestWithParam<Layer> {
 protected:
  void SetUp() override {
    if (cuda_status().devices.empty()) GTEST_SKIP() << cuda_status().reason;
    const auto& [layout, shape] = GetParam();
    stream_.emplace();
    layer_.emplace(shape, layout);
    tasks_ = layer_->tasks();
    if (!can_be_link(tasks_[0], true)) GTEST_SKIP() << "of compute capability 9.0";
  }
  void chain(int num_links) const {
    linear_chain({tasks_.data(), num_links, layer_->scratch()}, stream_->get());
  }
  /// Behind what was launched.
  std::vector<float> results() const {
    check_launch("products");
    stream_->synchronize("products");
    return layer_->results();
  }

  std::optional<Stream> stream_;
  std::optional<ChainCase> layer_;
  std::array<LinearTask, kMostLinks> tasks_;
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

bool have_same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * 4) == 0;
}

TEST_P(CudaChainTest, has_the_bits_of_a_kernel_for_each_product) {
  for (std::size_t i = 1; i < tasks_.size(); ++i) {
    ASSERT_TRUE(can_be_link(tasks_[i], false));
    ASSERT_TRUE(are_linked(tasks_[i - 1], tasks_[i]));
  }
  layer_->reset();
  multiply_apart(*layer_, *stream_);
  const auto want = results();
  EXPECT_NE(want, std::vector<float>(want.size(), 0));
  for (const int links : {kMostLinks, kMostLinks, kLeastLinks, kMostLinks}) {
    layer_->reset();
    chain(links);
    EXPECT_TRUE(have_same_bits(results(), want)) << links << " links";
  }
}

TEST_P(CudaChainTest, chains_behind_each_other_wait_for_each_other) {
  constexpr int kTimes = 20;
  layer_->reset();
  for (int i = 0; i < kTimes; ++i) multiply_apart(*layer_, *stream_);
  const auto want = results();
  layer_->reset();
  for (int i = 0; i < kTimes; ++i) chain(i % 3 == 0 ? kLeastLinks : kMostLinks);
  EXPECT_TRUE(have_same_bits(results(), want));
}

class ProductChainTest : public testing::TestWithParam<MatrixLayout> {};

TEST_P(ProductChainTest, is_one_kernel_for_whoever_was_first) {
  if (cuda_status().devices.empty()) GTEST_SKIP() << cuda_status().reason;
  const Stream stream;
  const ChainCase layer(kLayers[2], GetParam());
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
    EXPECT_TRUE(have_same_bits(layer.results(), want));
    return is;
  };
  EXPECT_TRUE(is_chain(first));
  EXPECT_TRUE(is_chain(first));
  EXPECT_FALSE(is_chain(second));
}

INSTANTIATE_TEST_SUITE_P(Formats, ProductChainTest,
                         testing::Values(MatrixLayout::kBf16, MatrixLayout::kInt4));

INSTANTIATE_TEST_SUITE_P(Formats, CudaChainTest,
                         testing::Combine(testing::ValuesIn(kLayoutsOfMadeRows),
                                          testing::ValuesIn(kLayers)),
                         layer_name);
INSTANTIATE_TEST_SUITE_P(Groups, CudaChainTest,
                         testing::Combine(testing::Values(MatrixLayout::kInt4),
                                          testing::ValuesIn(kGroupedLayers)),
                         layer_name);

}  // namespace
}  // namespace iol::cuda
