#include "quantization/calibration.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>
#include <sstream>
#include <unordered_set>

#include "engine/loaded_model.h"
#include "engine/scorer.h"
#include "tests/message_of.h"
#include "tests/quantization/calibration_model.h"

namespace iol::test {
namespace {

using testing::HasSubstr;

Quantization int4(int group_size) {
  Quantization quantization;
  quantization.format = WeightFormat::kInt4;
  quantization.group_size = group_size;
  return quantization;
}

Quantization quantization_of(WeightFormat format) {
  Quantization quantization;
  quantization.format = format;
  return quantization;
}

CalibrationOptions small_options() {
  CalibrationOptions options;
  options.statistics.num_rows = 64;
  options.statistics.window_tokens = 96;
  return options;
}

Calibration calibrate_tiny(const Quantization& quantization, const CalibrationOptions& options,
                           int backend_threads = 1) {
  const std::string folder = kTinyModels + "llama";
  const ModelConfig config = load_model_config(folder);
  Checkpoint source(folder);
  return calibrate(config, source, *f32_backend(backend_threads), quantization,
                   some_tokens(300, config.vocab_size), options);
}

void expect_same(const Calibration& a, const Calibration& b) {
  EXPECT_EQ(a.record(), b.record());
  ASSERT_EQ(a.scalings.size(), b.scalings.size());
  for (const auto& [name, scaling] : a.scalings) {
    EXPECT_EQ(scaling.columns, b.scalings.at(name).columns) << name;
    EXPECT_EQ(scaling.rows, b.scalings.at(name).rows) << name;
    EXPECT_EQ(scaling.clip.steps, b.scalings.at(name).clip.steps) << name;
  }
}

TEST(Calibration, is_the_same_for_a_seed_on_any_number_of_threads) {
  for (const auto& quantization : {int4(32), quantization_of(WeightFormat::kInt8)}) {
    auto options = small_options();
    options.num_threads = 1;
    const Calibration one = calibrate_tiny(quantization, options);
    options.num_threads = 3;
    expect_same(one, calibrate_tiny(quantization, options, 2));
  }
}

TEST(Calibration, draws_other_rows_for_another_seed) {
  const auto rows = draw_rows(1000, 50, 1);
  EXPECT_EQ(std::set<std::int64_t>(rows.begin(), rows.end()).size(), 50U);
  EXPECT_TRUE(std::is_sorted(rows.begin(), rows.end()));
  EXPECT_LT(rows.back(), 1000);
  EXPECT_EQ(rows, draw_rows(1000, 50, 1));
  EXPECT_NE(rows, draw_rows(1000, 50, 2));
  EXPECT_EQ(draw_rows(3, 3, 9), (std::vector<std::int64_t>{0, 1, 2}));
}

TEST(Calibration, never_makes_a_site_worse_and_records_every_site) {
  const Calibration found = calibrate_tiny(int4(32), small_options());
  const auto record = found.record();
  EXPECT_EQ(record["method"], "awq");
  EXPECT_EQ(record["tokens"], 300);
  ASSERT_EQ(record["matrices"].size(), 8U);  // two layers
  for (const auto& site : record["matrices"])
    EXPECT_LE(site["error_after"].get<double>(), site["error_before"].get<double>());
}

TEST(Calibration, leaves_kept_matrices_alone) {
  auto quantization = int4(32);
  quantization.keep = {"layers.0.mlp.down_proj"};
  const Calibration found = calibrate_tiny(quantization, small_options());
  EXPECT_EQ(found.sites.size(), 7U);
  EXPECT_EQ(found.scalings.count("model.layers.0.mlp.down_proj.weight"), 0U);
}

TEST(Calibration, refuses_formats_without_a_method) {
  for (const auto format :
       {WeightFormat::kNone, WeightFormat::kFp8, WeightFormat::kInt8WeightOnly}) {
    EXPECT_THAT(message_of([&] { calibrate_tiny(quantization_of(format), small_options()); }),
                HasSubstr(std::string("calibration does nothing for ") +
                          std::string(weight_format_name(format))));
  }
}

TEST(Calibration, refuses_short_texts_foreign_tokens_and_groups_that_do_not_divide) {
  auto options = small_options();
  options.statistics.num_rows = 512;
  EXPECT_THAT(message_of([&] { calibrate_tiny(int4(32), options); }),
              HasSubstr("has 300 tokens; at least 512 are needed"));
  EXPECT_THAT(message_of([&] { calibrate_tiny(int4(128), small_options()); }),
              HasSubstr("groups of 128 don't divide"));
  const ModelConfig config = load_model_config(kTinyModels + "llama");
  Checkpoint source(kTinyModels + "llama");
  EXPECT_THAT(message_of([&] {
                calibrate(config, source, *f32_backend(), int4(32), some_tokens(300, 200),
                          small_options());
              }),
              HasSubstr("outside the model's vocabulary of 128"));
}

TEST(Calibration, refuses_weights_that_are_not_finite) {
  const std::string folder = kTinyModels + "llama";
  const ModelConfig config = load_model_config(folder);
  const auto message = [&](const std::string& tensor, float value) {
    PoisonedSource source(folder, tensor, 3, value);
    return message_of([&] {
      calibrate(config, source, *f32_backend(), int4(32), some_tokens(300, config.vocab_size),
                small_options());
    });
  };
  EXPECT_THAT(
      message("model.layers.0.self_attn.v_proj.weight", std::numeric_limits<float>::quiet_NaN()),
      HasSubstr("'model.layers.0.self_attn.o_proj.weight' is multiplied with becomes NaN"));
  // What the last matrix makes is seen by no other.
  EXPECT_THAT(
      message("model.layers.1.mlp.down_proj.weight", std::numeric_limits<float>::infinity()),
      HasSubstr("'model.layers.1.mlp.down_proj.weight' holds NaN or infinity"));
}

/// Loss and KL divergence from the unquantized model, over the first tokens of the held-out text.
struct Distance {
  double loss = 0;
  double divergence = 0;
};

std::vector<std::vector<float>> log_probabilities(WeightSource& source, const ModelConfig& config,
                                                  const Quantization& quantization,
                                                  std::span<const std::int32_t> tokens) {
  LoadedModel model;
  model.config = config;
  model.dtype = DType::kBF16;
  model.backend = make_cpu_backend({std::nullopt, 0, DType::kBF16});
  model.weights = load_weights(config, source, *model.backend, quantization);
  Scorer scorer(model, static_cast<int>(tokens.size()));
  std::vector<std::vector<float>> all;
  scorer.score(tokens, [&](const Scorer::Rows& rows) {
    for (int i = 0; i < rows.count; ++i) {
      const auto logits = rows.logits(i);
      double sum = 0;
      for (const float logit : logits) sum += std::exp(double{logit});
      all.emplace_back(logits.begin(), logits.end());
      for (float& value : all.back()) value -= static_cast<float>(std::log(sum));
    }
  });
  return all;
}

Distance distance(const std::vector<std::vector<float>>& got,
                  const std::vector<std::vector<float>>& want,
                  std::span<const std::int32_t> tokens) {
  Distance result;
  for (std::size_t i = 0; i + 1 < tokens.size(); ++i) {
    result.loss -= got[i][static_cast<std::size_t>(tokens[i + 1])];
    for (std::size_t v = 0; v < want[i].size(); ++v)
      result.divergence += std::exp(double{want[i][v]}) * (double{want[i][v]} - got[i][v]);
  }
  const auto count = static_cast<double>(tokens.size() - 1);
  return {result.loss / count, result.divergence / count};
}

std::string text_of(const std::string& name) {
  std::stringstream text;
  text << std::ifstream(kRoot + "/models/" + name).rdbuf();
  return text.str();
}

TEST(Calibration, brings_the_demo_model_in_int4_closer_than_rounding_to_nearest) {
  const ModelConfig config = load_model_config(kDemo);
  const auto tokenizer = Tokenizer::load(kDemo);
  auto calibration_tokens = tokenizer->encode(text_of("calibration.txt"), false);
  calibration_tokens.resize(4096);
  auto tokens = tokenizer->encode(text_of("heldout.txt").substr(0, 20000), false);
  tokens.resize(2048);

  Checkpoint source(kDemo);
  CalibrationOptions options;
  options.statistics.num_rows = 256;
  const auto backend = make_cpu_backend({std::nullopt, 0, DType::kBF16});
  auto found = calibrate(config, source, *backend, int4(128), calibration_tokens, options);
  const auto calibrated = apply_calibration(std::make_unique<Checkpoint>(kDemo), std::move(found));

  const auto want = log_probabilities(source, config, Quantization{}, tokens);
  const auto nearest = distance(log_probabilities(source, config, int4(128), tokens), want, tokens);
  const auto awq =
      distance(log_probabilities(*calibrated, config, int4(128), tokens), want, tokens);
  const auto plain = distance(want, want, tokens);
  EXPECT_LT(awq.divergence, 0.8 * nearest.divergence);
  EXPECT_LT(awq.loss - plain.loss, 0.85 * (nearest.loss - plain.loss));
}

TEST(CalibrationText, shares_no_run_of_fifty_characters_with_the_heldout_text) {
  const std::string calibration = text_of("calibration.txt");
  const std::string heldout = text_of("heldout.txt");
  constexpr std::size_t kRun = 50;
  std::unordered_set<std::string_view> runs;
  for (std::size_t i = 0; i + kRun <= calibration.size(); ++i)
    runs.insert(std::string_view(calibration).substr(i, kRun));
  for (std::size_t i = 0; i + kRun <= heldout.size(); ++i)
    ASSERT_EQ(runs.count(std::string_view(heldout).substr(i, kRun)), 0U) << "at byte " << i;
}

}  // namespace
}  // namespace iol::test
