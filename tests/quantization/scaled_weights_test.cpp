// Rescaling must not change the model: logits before and after, in f32, for every architecture.
#include "quantization/scaled_weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "base/random.h"
#include "engine/loaded_model.h"
#include "engine/scorer.h"
#include "quantization/calibration.h"
#include "tests/message_of.h"
#include "tests/quantization/calibration_model.h"

namespace iol::test {
namespace {

/// Scales of [1/4, 4], powers of two so that rounding hides nothing, for every site.
std::map<std::string, TensorScaling> random_scalings(const ModelConfig& config) {
  std::map<std::string, TensorScaling> scalings;
  RandomStream random(11);
  for (const auto& site : scaling_sites(config)) {
    std::vector<float> rows;
    for (std::int64_t i = 0; i < site.num_producer_rows; ++i)
      rows.push_back(std::exp2(static_cast<float>(random.below(5)) - 2.0F));
    add_scales(site, site.expanded(rows), scalings);
  }
  return scalings;
}

std::vector<float> logits_of(const ModelConfig& config, WeightSource& source) {
  LoadedModel model;
  model.config = config;
  model.dtype = DType::kF32;
  model.backend = f32_backend();
  model.weights = load_weights(config, source, *model.backend, Quantization{});
  Scorer scorer(model, 64);
  std::vector<float> logits;
  scorer.score(some_tokens(64, config.vocab_size), [&](const Scorer::Rows& rows) {
    for (int i = 0; i < rows.count; ++i) {
      const auto row = rows.logits(i);
      logits.insert(logits.end(), row.begin(), row.end());
    }
  });
  return logits;
}

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  double largest = 0;
  double squares = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    largest = std::max(largest, std::abs(double{a[i]} - b[i]));
    squares += double{a[i]} * a[i];
  }
  return largest / std::sqrt(squares / static_cast<double>(a.size()));
}

class ScaledWeightsTest : public testing::TestWithParam<const char*> {};

TEST_P(ScaledWeightsTest, leave_the_logits_of_the_model_unchanged) {
  const std::string folder = kTinyModels + GetParam();
  const ModelConfig config = load_model_config(folder);
  Checkpoint plain(folder);
  const auto before = logits_of(config, plain);
  ScaledWeights scaled(std::make_unique<Checkpoint>(folder), random_scalings(config));
  EXPECT_LT(largest_difference(before, logits_of(config, scaled)), 2e-5);
}

TEST_P(ScaledWeightsTest, change_them_when_a_producer_is_left_out) {
  const std::string folder = kTinyModels + GetParam();
  const ModelConfig config = load_model_config(folder);
  Checkpoint plain(folder);
  const auto before = logits_of(config, plain);
  for (const auto& site : scaling_sites(config)) {
    for (const auto& producer : site.producers) {
      auto scalings = random_scalings(config);
      scalings[producer].rows.clear();
      ScaledWeights broken(std::make_unique<Checkpoint>(folder), scalings);
      EXPECT_GT(largest_difference(before, logits_of(config, broken)), 2e-4) << producer;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, ScaledWeightsTest,
                         testing::Values("llama", "llama-tied", "llama-biases", "llama-bf16",
                                         "qwen2", "qwen3"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(ScaledWeights, scale_columns_then_clip_then_scale_rows) {
  const std::string name = "model.layers.0.self_attn.o_proj.weight";  // [32, 64]
  Checkpoint plain(kTinyModels + "llama");
  const auto lease = plain.lease(name);
  const auto* original = reinterpret_cast<const float*>(lease->tensor().data);
  TensorScaling scaling;
  scaling.columns.assign(64, 2.0F);
  scaling.rows.assign(32, 0.5F);
  scaling.clip.group_size = 32;
  scaling.clip.steps.assign(32 * 2, 0);
  scaling.clip.steps[1] = 4;  // row 0, group 1: to 0.8 of its range
  ScaledWeights scaled(std::make_unique<Checkpoint>(kTinyModels + "llama"), {{name, scaling}});
  const auto result = scaled.lease(name);
  ASSERT_EQ(result->tensor().dtype, DType::kF32);
  ASSERT_EQ(result->tensor().shape, lease->tensor().shape);
  const auto* got = reinterpret_cast<const float*>(result->tensor().data);
  const auto [low, high] = std::minmax_element(original + 32, original + 64);
  for (int i = 0; i < 32 * 64; ++i) {
    const bool is_clipped = i >= 32 && i < 64;
    const float want =
        is_clipped ? std::clamp(original[i], *low * 0.8F, *high * 0.8F) : original[i];
    EXPECT_NEAR(got[i], want, 1e-6 * std::abs(want)) << i;
  }
}

TEST(ScaledWeights, pass_other_tensors_through_and_refuse_another_shape) {
  const std::string name = "model.layers.0.self_attn.o_proj.weight";
  TensorScaling scaling;
  scaling.columns.assign(63, 2.0F);
  ScaledWeights scaled(std::make_unique<Checkpoint>(kTinyModels + "llama"), {{name, scaling}});
  EXPECT_TRUE(scaled.contains("model.norm.weight"));
  EXPECT_FALSE(scaled.contains("model.norm.bias"));
  EXPECT_EQ(scaled.lease("model.norm.weight")->tensor().shape, std::vector<std::int64_t>{32});
  EXPECT_THAT(message_of([&] { scaled.lease(name); }),
              testing::HasSubstr("does not have the shape that it was calibrated with"));
}

TEST(ScalingSites, share_scales_between_the_query_heads_of_a_group) {
  ModelConfig config = load_model_config(kTinyModels + "llama");  // 4 query heads, 2 of v, D 16
  const ScalingSite site = scaling_sites(config)[1];
  ASSERT_EQ(site.input, LinearInput::kOutput);
  EXPECT_EQ(site.num_producer_rows, 32);
  EXPECT_EQ(site.producer_row(0), 0);
  EXPECT_EQ(site.producer_row(16), 0);   // second query head, first of v
  EXPECT_EQ(site.producer_row(33), 17);  // third query head, second of v
  std::vector<float> columns(64, 1.0F);
  columns[16] = 5.0F;
  const auto rows = site.pooled(columns, [](float a, float b) { return std::max(a, b); });
  EXPECT_EQ(rows[0], 5.0F);
  EXPECT_EQ(site.expanded(rows)[0], 5.0F);
}

}  // namespace
}  // namespace iol::test
