// Intervals of quality: NumPy's, seeded, absent for too few windows.
#include "bench/quality/quality_intervals.h"

#include <gtest/gtest.h>

#include <fstream>

#include "bench/quality/quality.h"

namespace iol::bench {
namespace {

using nlohmann::json;

std::vector<WindowQuality> windows_of(const json& golden) {
  std::vector<WindowQuality> windows;
  for (const auto& entry : golden.at("windows")) {
    WindowQuality window;
    window.num_scored = entry.at("scored");
    window.negative_log_likelihood = entry.at("nll");
    window.reference_negative_log_likelihood = entry.at("reference_nll");
    window.kl_divergence = entry.at("kl");
    window.same_top = entry.at("same_top");
    windows.push_back(window);
  }
  return windows;
}

void expect_near(const ConfidenceInterval& interval, const json& golden) {
  EXPECT_NEAR(interval.low, golden[0].get<double>(), 1e-12 * golden[0].get<double>());
  EXPECT_NEAR(interval.high, golden[1].get<double>(), 1e-12 * golden[1].get<double>());
}

json goldens() {
  return json::parse(std::ifstream(IOL_SOURCE_DIR "/tests/goldens/quality_intervals.json"));
}

TEST(QualityIntervals, are_those_of_numpy) {
  for (const auto& golden : goldens()) {
    const auto intervals = quality_intervals(windows_of(golden), true, golden.at("seed"));
    ASSERT_TRUE(intervals.has_value());
    expect_near(intervals->perplexity, golden.at("perplexity_ci95"));
    expect_near(*intervals->perplexity_ratio, golden.at("perplexity_ratio_ci95"));
    expect_near(*intervals->kl_divergence_nats, golden.at("kl_divergence_ci95_nats"));
    expect_near(*intervals->top1_agreement, golden.at("top1_agreement_ci95"));
  }
}

TEST(QualityIntervals, need_windows_that_scored_something) {
  auto windows = windows_of(goldens()[0]);
  windows.back().num_scored = 0;
  EXPECT_FALSE(quality_intervals(windows, true, 0).has_value());
  Quality quality;
  quality.windows = windows;
  const auto few = quality_json(quality);
  EXPECT_TRUE(few.at("perplexity_ci95").is_null());
  EXPECT_NE(few.at("interval_note").get<std::string>().find("at least 5"), std::string::npos);
}

TEST(QualityIntervals, are_of_perplexity_alone_without_a_reference) {
  const auto intervals = quality_intervals(windows_of(goldens()[1]), false, 0);
  ASSERT_TRUE(intervals.has_value());
  EXPECT_FALSE(intervals->kl_divergence_nats || intervals->top1_agreement ||
               intervals->perplexity_ratio);
}

}  // namespace
}  // namespace iol::bench
