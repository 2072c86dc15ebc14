#include "bench/sweep.h"

#include <gtest/gtest.h>

#include <set>

namespace iol::bench {
namespace {

using nlohmann::json;

/// Rates that were tried until the search ended, when everything up to `limit` passes.
std::vector<double> rates_tried(RateSearch& search, double limit) {
  std::vector<double> rates;
  while (const auto rate = search.next()) {
    rates.push_back(*rate);
    search.report(*rate <= limit);
  }
  return rates;
}

TEST(RateSearch, brackets_the_limit_from_either_side) {
  for (const double limit : {0.03, 0.9, 1.0, 7.3, 640.0}) {
    RateSearch search(2);
    const auto rates = rates_tried(search, limit);
    ASSERT_TRUE(search.highest_passed() && search.lowest_failed()) << limit;
    EXPECT_LE(*search.highest_passed(), limit);
    EXPECT_GT(*search.lowest_failed(), limit);
    EXPECT_LE(*search.lowest_failed() / *search.highest_passed(), 1 + RateSearch::kPrecision);
    EXPECT_EQ(std::set<double>(rates.begin(), rates.end()).size(), rates.size());
    EXPECT_LE(rates.size(), 16U);
  }
}

TEST(RateSearch, ends_when_nothing_or_everything_passes) {
  RateSearch never(1);
  rates_tried(never, 0);
  EXPECT_FALSE(never.highest_passed());
  EXPECT_EQ(never.lowest_failed(), RateSearch::kLowestRate);
  RateSearch always(1);
  rates_tried(always, 1e12);
  EXPECT_EQ(always.highest_passed(), RateSearch::kHighestRate);
  EXPECT_FALSE(always.lowest_failed());
}

TEST(RateSearch, a_judge_without_reason_does_not_keep_it_going) {
  RateSearch search(5);
  int probes = 0;
  while (search.next()) search.report(++probes % 3 != 0);
  EXPECT_LE(probes, RateSearch::kMostProbes);
}

/// 200 requests: ttft 10, 11, 12, ... ms, then a token every 5 ms.
RunResult sample_run(int num_failed = 0) {
  RunResult result;
  for (int i = 0; i < 200; ++i) {
    RequestResult request;
    request.id = i;
    request.intended_start_ns = i * 1'000'000LL;
    request.start_ns = request.intended_start_ns + 500'000;  // late: it counts
    const std::int64_t first = request.intended_start_ns + (10 + i) * 1'000'000LL;
    for (int token = 0; token < 5; ++token) {
      request.token_times_ns.push_back(first + token * 5'000'000LL);
      request.tokens.push_back(token);
    }
    if (i < num_failed) {
      request.error = "timeout";
      request.token_times_ns.clear();
      request.tokens.clear();
    }
    result.requests.push_back(std::move(request));
  }
  return result;
}

TEST(Probe, percentiles_count_from_the_intended_start) {
  const auto probe = judge_probe(3, sample_run(), {{"ttft_ms", 208.0}});
  EXPECT_EQ(probe.ttft_p99_ms, 207);  // the 198th of 10..209
  EXPECT_EQ(probe.tpot_p99_ms, 5);
  EXPECT_EQ(probe.e2e_p99_ms, 227);
  EXPECT_TRUE(probe.passed);
  EXPECT_FALSE(judge_probe(3, sample_run(), {{"ttft_ms", 206.0}}).passed);
  EXPECT_FALSE(judge_probe(3, sample_run(), {{"ttft_ms", 300.0}, {"tpot_ms", 4.9}}).passed);
}

TEST(Probe, failures_are_slower_than_anything) {
  const json slo = {{"e2e_ms", 1e6}};
  EXPECT_TRUE(judge_probe(3, sample_run(2), slo).passed);  // 1 %
  const auto probe = judge_probe(3, sample_run(3), slo);
  EXPECT_FALSE(probe.passed);
  EXPECT_FALSE(probe.e2e_p99_ms);
  EXPECT_EQ(probe.failed, 3);
  EXPECT_FALSE(judge_probe(3, sample_run(200), slo).passed);
}

TEST(Probe, a_late_generator_does_not_pass) {
  auto run = sample_run();
  run.details["generator"] = {{"lateness_p99_ms", 40.0}};
  EXPECT_FALSE(judge_probe(3, run, {{"ttft_ms", 300.0}}).passed);
  run.details["generator"] = {{"lateness_p99_ms", 20.0}};
  EXPECT_TRUE(judge_probe(3, run, {{"ttft_ms", 300.0}}).passed);
}

}  // namespace
}  // namespace iol::bench
