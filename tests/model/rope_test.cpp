// Rotary frequencies against those that transformers computes from the same config.json.
#include "model/rope.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

namespace iol::test {
namespace {

// A power and a division in f32, each within an ulp or two of 6e-8.
constexpr double kTolerance = 1e-6;

TEST(Rope, FrequenciesAndAttentionFactorEqualTransformersForEveryForm) {
  std::ifstream file(std::string(IOL_SOURCE_DIR) + "/tests/goldens/rope/golden.json");
  const auto golden = nlohmann::json::parse(file);
  std::size_t num_cases = 0;
  for (const auto& [name, expected] : golden.at("cases").items()) {
    SCOPED_TRACE(name);
    ++num_cases;
    const ModelConfig config = parse_model_config(expected.at("config").dump(), {}, "folder");
    const auto want = expected.at("inv_freq").get<std::vector<double>>();
    const std::vector<float> got = rope_inv_freq(config);
    ASSERT_EQ(got.size(), want.size());
    for (std::size_t i = 0; i < want.size(); ++i)
      EXPECT_NEAR(got[i] / want[i], 1.0, kTolerance) << "dimension " << i;
    EXPECT_NEAR(rope_attention_factor(config), expected.at("attention_factor").get<double>(),
                kTolerance);
  }
  EXPECT_EQ(num_cases, 21U);
}

TEST(Rope, FormsDifferFromTheDefaultWhereTheyShould) {
  ModelConfig config;
  config.head_dim = 64;
  config.max_position_embeddings = 4096;
  const auto plain = rope_inv_freq(config);
  config.rope.factor = 4;
  config.rope.type = RopeConfig::Type::kDynamic;
  EXPECT_EQ(rope_inv_freq(config), plain);
  config.rope.type = RopeConfig::Type::kLinear;
  const auto linear = rope_inv_freq(config);
  for (std::size_t i = 0; i < plain.size(); ++i) EXPECT_FLOAT_EQ(linear[i] * 4, plain[i]);
  for (const auto type : {RopeConfig::Type::kLlama3, RopeConfig::Type::kYarn}) {
    config.rope.type = type;
    const auto scaled = rope_inv_freq(config);
    EXPECT_FLOAT_EQ(scaled.front(), plain.front()) << "short wavelengths are kept";
    EXPECT_FLOAT_EQ(scaled.back() * 4, plain.back()) << "long wavelengths are stretched";
  }
}

TEST(Rope, FrequenciesStayFiniteAtTheEdgesThatAConfigurationAllows) {
  for (const double theta : {1e-3, 10000.0, 1e15}) {
    for (const auto type : {RopeConfig::Type::kDefault, RopeConfig::Type::kLinear,
                            RopeConfig::Type::kLlama3, RopeConfig::Type::kYarn}) {
      ModelConfig config;
      config.head_dim = 2;
      config.max_position_embeddings = 1;
      config.rope.theta = theta;
      config.rope.type = type;
      config.rope.factor = 1e6;
      for (const float frequency : rope_inv_freq(config)) EXPECT_TRUE(std::isfinite(frequency));
      EXPECT_TRUE(std::isfinite(rope_attention_factor(config)));
    }
  }
}

}  // namespace
}  // namespace iol::test
