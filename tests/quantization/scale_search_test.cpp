// Statistics, output errors and clip ratios against PyTorch (tests/goldens/calibration.json).
#include "quantization/scale_search.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/thread_pool.h"
#include "quantization/awq.h"
#include "quantization/dot_products.h"
#include "quantization/smoothquant.h"
#include "tests/quantization/calibration_model.h"

namespace iol::test {
namespace {

class ScaleSearchTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    golden = nlohmann::json::parse(std::ifstream(kRoot + "/tests/goldens/calibration.json"));
    config = load_model_config(kDemo);
    Checkpoint source(kDemo);
    StatisticsOptions options;
    options.num_rows = golden["num_rows"];
    options.window_tokens = golden["window"];
    options.seed = golden["seed"];
    const auto tokens = golden["tokens"].get<std::vector<std::int32_t>>();
    statistics = gather_statistics(config, source, *f32_backend(), tokens, options);
  }
  static std::size_t index_of(const nlohmann::json& entry) {
    const auto sites = scaling_sites(config);
    for (std::size_t i = 0; i < sites.size(); ++i) {
      if (sites[i].layer == entry["layer"] && linear_input_name(sites[i].input) == entry["input"])
        return i;
    }
    return sites.size();
  }
  static void expect_errors(const nlohmann::json& want, const OutputError& error,
                            const std::vector<Candidate>& candidates) {
    const auto errors = want["errors"].get<std::vector<double>>();
    ASSERT_EQ(candidates.size(), errors.size());
    for (std::size_t i = 0; i < errors.size(); ++i)
      EXPECT_NEAR(error.of(candidates[i].columns), errors[i], 2e-3 * errors[i]) << i;
    const auto found = search_scales(error, candidates);
    ASSERT_TRUE(found.best.strength.has_value());
    EXPECT_EQ(*found.best.strength, want["strength"]);
    EXPECT_NEAR(found.error_before, errors[0], 2e-3 * errors[0]);
  }

  inline static nlohmann::json golden;
  inline static ModelConfig config;
  inline static std::vector<InputStatistics> statistics;
};

TEST_F(ScaleSearchTest, statistics_equal_the_reference) {
  for (const auto& entry : golden["sites"]) {
    const InputStatistics& found = statistics[index_of(entry)];
    for (std::size_t k = 0; k < 8; ++k) {
      const double largest = entry["max_abs"][k];
      const double mean = entry["mean_abs"][k];
      EXPECT_NEAR(found.max_abs[k], largest, 1e-4 * largest) << entry["input"];
      EXPECT_NEAR(found.mean_abs[k], mean, 1e-4 * mean) << entry["input"];
    }
    EXPECT_EQ(found.rows.size(), found.max_abs.size() * 256);
  }
}

TEST_F(ScaleSearchTest, finds_the_strengths_and_errors_of_the_reference) {
  ThreadPool threads(2);
  Checkpoint source(kDemo);
  const auto sites = scaling_sites(config);
  for (const auto& entry : golden["sites"]) {
    SCOPED_TRACE(entry["input"].get<std::string>() + " of layer " + entry["layer"].dump());
    const std::size_t i = index_of(entry);
    const SiteWeights weights(sites[i], source, threads);
    const OutputError int8(weights, statistics[i], WeightFormat::kInt8, 0, threads);
    expect_errors(entry["smoothquant"], int8,
                  smoothquant_candidates(sites[i], statistics[i], weights.max_abs()));
    const OutputError int4(weights, statistics[i], WeightFormat::kInt4, 128, threads);
    expect_errors(entry["awq"], int4, awq_candidates(sites[i], statistics[i]));
  }
}

TEST_F(ScaleSearchTest, clips_as_the_reference_does) {
  ThreadPool threads(2);
  Checkpoint source(kDemo);
  const auto sites = scaling_sites(config);
  for (const auto& entry : golden["sites"]) {
    const std::size_t i = index_of(entry);
    const SiteWeights weights(sites[i], source, threads);
    const OutputError error(weights, statistics[i], WeightFormat::kInt4, 128, threads);
    const auto best = search_scales(error, awq_candidates(sites[i], statistics[i])).best;
    const auto clip = search_clips(weights, statistics[i], best.columns, 128, threads);
    const auto want = entry["clip_counts"].get<std::vector<int>>();
    std::vector<int> counts(kNumClips);
    for (const auto steps : clip.steps) ++counts[steps];
    int moved = 0;  // between two ratios that are as good as each other
    for (std::size_t c = 0; c < counts.size(); ++c) moved += std::abs(counts[c] - want[c]);
    EXPECT_LE(moved, static_cast<int>(clip.steps.size() / 200)) << entry["input"];
  }
}

TEST_F(ScaleSearchTest, the_best_candidate_wins_and_no_scaling_wins_a_tie) {
  ThreadPool threads(1);
  Checkpoint source(kDemo);
  const auto site = scaling_sites(config)[0];
  const SiteWeights weights(site, source, threads);
  const OutputError error(weights, statistics[0], WeightFormat::kInt8, 0, threads);
  auto candidates = smoothquant_candidates(site, statistics[0], weights.max_abs());
  double least = 1;
  for (const auto& candidate : candidates) least = std::min(least, error.of(candidate.columns));
  EXPECT_EQ(search_scales(error, candidates).error_after, least);
  candidates = {candidates[0], {0.5, candidates[0].columns}};
  EXPECT_FALSE(search_scales(error, candidates).best.strength.has_value());
}

TEST(DotProducts, equal_the_sum_in_double_for_every_tail) {
  for (const std::int64_t columns : {1, 15, 16, 40, 129}) {
    for (const std::int64_t rows : {1, 3, 4, 9}) {
      std::vector<float> a(static_cast<std::size_t>(rows * columns));
      std::vector<float> b(static_cast<std::size_t>(6 * columns));
      for (std::size_t i = 0; i < a.size(); ++i) a[i] = std::sin(static_cast<float>(i));
      for (std::size_t i = 0; i < b.size(); ++i) b[i] = std::cos(static_cast<float>(3 * i));
      std::vector<float> out(static_cast<std::size_t>(rows * 7), -1.0F);
      dot_products(a.data(), rows, b.data(), 6, columns, out.data(), 7);
      for (std::int64_t i = 0; i < rows; ++i) {
        for (std::int64_t j = 0; j < 6; ++j) {
          double want = 0;
          for (std::int64_t k = 0; k < columns; ++k)
            want += double{a[static_cast<std::size_t>(i * columns + k)]} *
                    b[static_cast<std::size_t>(j * columns + k)];
          EXPECT_NEAR(out[static_cast<std::size_t>(i * 7 + j)], want,
                      1e-6 * static_cast<double>(columns));
        }
        EXPECT_EQ(out[static_cast<std::size_t>(i * 7 + 6)], -1.0F);
      }
    }
  }
}

}  // namespace
}  // namespace iol::test
