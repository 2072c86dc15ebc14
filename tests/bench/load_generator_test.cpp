#include "bench/load_generator.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/bench/fake_engine.h"

namespace iol::bench {
namespace {

std::vector<WorkloadRequest> requests_of_lengths(const std::vector<std::int64_t>& lengths) {
  std::vector<WorkloadRequest> requests;
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    requests.push_back(
        {static_cast<std::int64_t>(i) + 100, {static_cast<std::int32_t>(i) + 1, 2, 3}, lengths[i]});
  }
  return requests;
}

TEST(LoadGenerator, every_request_gets_exactly_its_own_tokens) {
  FakeEngine engine({});
  const auto requests = requests_of_lengths({5, 1, 17, 3, 8, 2, 1, 30, 4, 4, 4});
  for (const int concurrency : {1, 2, 4, 11, 50}) {
    std::vector<std::int64_t> completed;
    const auto result = run_closed_loop(engine, {Phase::kMeasure, concurrency, requests},
                                        [&](std::int64_t count) { completed.push_back(count); });
    ASSERT_EQ(result.requests.size(), requests.size());
    EXPECT_EQ(completed.size(), requests.size());
    EXPECT_EQ(*std::max_element(completed.begin(), completed.end()), 11);
    for (std::size_t i = 0; i < requests.size(); ++i) {
      const auto& one = result.requests[i];
      EXPECT_EQ(one.id, requests[i].id);
      ASSERT_EQ(one.tokens.size(), static_cast<std::size_t>(requests[i].output_tokens));
      for (int j = 0; j < static_cast<int>(one.tokens.size()); ++j) {
        EXPECT_EQ(one.tokens[static_cast<std::size_t>(j)],
                  FakeEngine::token(requests[i].prompt_tokens, j));
      }
      EXPECT_EQ(one.token_times_ns.size(), one.tokens.size());
      EXPECT_TRUE(std::is_sorted(one.token_times_ns.begin(), one.token_times_ns.end()));
      EXPECT_LE(one.start_ns, one.token_times_ns.front());
      EXPECT_EQ(one.intended_start_ns, one.start_ns);
      EXPECT_LE(result.start_ns, one.start_ns);
      EXPECT_GE(result.end_ns, one.token_times_ns.back());
    }
  }
}

TEST(LoadGenerator, keeps_exactly_the_asked_number_under_way) {
  for (const int concurrency : {1, 3, 8}) {
    FakeEngine engine({});
    const auto requests = requests_of_lengths(std::vector<std::int64_t>(24, 5));
    const auto result = run_closed_loop(engine, {Phase::kMeasure, concurrency, requests}, {});
    EXPECT_EQ(engine.most_under_way, concurrency);
    // The next request starts when one ends: never more than `concurrency` overlap, and at the
    // start of each but the first few exactly one has just ended.
    for (std::size_t i = static_cast<std::size_t>(concurrency); i < requests.size(); ++i) {
      const auto start = result.requests[i].start_ns;
      const auto ended = std::count_if(
          result.requests.begin(), result.requests.end(),
          [&](const RequestResult& other) { return other.token_times_ns.back() <= start; });
      EXPECT_GE(ended, static_cast<std::ptrdiff_t>(i) - concurrency + 1);
    }
  }
}

TEST(LoadGenerator, a_refused_request_is_an_error_and_does_not_stop_the_rest) {
  FakeEngine engine({});
  auto requests = requests_of_lengths({3, 3, 3, 3, 3});
  requests[0].prompt_tokens.clear();
  requests[3].prompt_tokens.clear();
  const auto result = run_closed_loop(engine, {Phase::kMeasure, 2, requests}, {});
  for (std::size_t i = 0; i < requests.size(); ++i) {
    EXPECT_EQ(result.requests[i].error.has_value(), i == 0 || i == 3);
  }
  EXPECT_EQ(result.requests[3].error, "the prompt is empty");
}

TEST(LoadGenerator, all_requests_refused_still_ends) {
  FakeEngine engine({});
  std::vector<WorkloadRequest> requests(5000);  // as many nested submissions, one after the other
  const auto result = run_closed_loop(engine, {Phase::kMeasure, 1, requests}, {});
  EXPECT_TRUE(std::all_of(result.requests.begin(), result.requests.end(),
                          [](const auto& one) { return one.error.has_value(); }));
}

TEST(LoadGenerator, a_failed_step_is_the_error_of_its_request) {
  FakeEngine engine({});
  engine.failing_first_token = 2;
  const auto requests = requests_of_lengths({3, 3, 3});
  const auto result = run_closed_loop(engine, {Phase::kMeasure, 3, requests}, {});
  EXPECT_FALSE(result.requests[0].error.has_value());
  EXPECT_EQ(result.requests[1].error, "the step failed");
}

}  // namespace
}  // namespace iol::bench
