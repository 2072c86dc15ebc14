// The experiments behind the gate: how often it cries wolf, and how often it sees a real slow-down.
// Everything is simulated from fixed seeds; docs/compare.md states the outcome.
#include <gtest/gtest.h>

#include "report/compare.h"
#include "report/detectable_change.h"
#include "tests/report/compared_run.h"

namespace iol::report {
namespace {

constexpr int kTrials = 200;

/// In how many of 200 comparisons the gates failed.
int failures(const sample::ComparedRunOptions& run, double slow_down,
             const std::vector<std::string>& gates) {
  CompareOptions options;
  for (const auto& gate : gates) options.gates.push_back(parse_gate(gate));
  int count = 0;
  for (std::uint64_t trial = 0; trial < kTrials; ++trial) {
    sample::ComparedRunOptions base = run;
    base.seed = 2 * trial;
    sample::ComparedRunOptions next = run;
    next.seed = 2 * trial + 1;
    next.run_id = "new";
    next.slow_down = slow_down;
    count += compare(compared_run(base), compared_run(next), options).failed() ? 1 : 0;
  }
  return count;
}

TEST(CompareExperiment, of_200_comparisons_of_equals_at_least_95_percent_pass) {
  // The sharpest gate there is, on a machine with little, some and much noise.
  for (const double noise : {0.005, 0.02, 0.10}) {
    const int failed = failures({.noise = noise}, 0, {"throughput>0%"});
    std::printf("A/A, noise %.1f %%: %d of %d failed\n", noise * 100, failed, kTrials);
    EXPECT_LE(failed, kTrials * 5 / 100) << noise;
  }
}

TEST(CompareExperiment, six_gates_together_pass_as_often_as_one) {
  const int failed = failures({.repetitions = 9, .concurrencies = {1, 4, 16}, .noise = 0.02}, 0,
                              {"throughput>0%", "ttft_p50>0%"});
  std::printf("A/A, six gates: %d of %d failed\n", failed, kTrials);
  EXPECT_LE(failed, kTrials * 5 / 100);
}

TEST(CompareExperiment, a_slow_down_of_3_percent_is_seen_at_the_default_repetitions) {
  // Run-to-run noise of 0.9 %: what the default of 6 repetitions is good for.
  const int seen = failures({.noise = 0.009}, 0.03, {"throughput>0%"});
  std::printf("3 %% slow-down, noise 0.9 %%, 6 repetitions: seen in %d of %d\n", seen, kTrials);
  EXPECT_GE(seen, kTrials * 90 / 100);
}

TEST(CompareExperiment, on_a_noisier_machine_the_number_that_it_names_is_enough) {
  for (const double noise : {0.02, 0.03}) {
    const double deviation = noise * std::sqrt(2.0);  // of the ratio of two runs
    const auto needed = pairs_needed(0.03, deviation, 0.95);
    ASSERT_TRUE(needed);
    const int few = failures({.noise = noise}, 0.03, {"throughput>0%"});
    const int enough = failures({.repetitions = static_cast<int>(*needed), .noise = noise}, 0.03,
                                {"throughput>0%"});
    std::printf("3 %% slow-down, noise %.0f %%: seen in %d with 6, in %d with %d repetitions\n",
                noise * 100, few, enough, static_cast<int>(*needed));
    EXPECT_LT(few, kTrials * 90 / 100) << "six would have been enough: the tool asks for too many";
    // 90 % of 200 is 180; three standard deviations of that count are 13.
    EXPECT_GE(enough, 180 - 13) << noise;
  }
}

}  // namespace
}  // namespace iol::report
