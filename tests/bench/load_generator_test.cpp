#include "bench/load_generator.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "bench/load/null_target.h"
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
    const auto result = run_load(engine, {Phase::kMeasure, concurrency, requests},
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
    const auto result = run_load(engine, {Phase::kMeasure, concurrency, requests}, {});
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
  const auto result = run_load(engine, {Phase::kMeasure, 2, requests}, {});
  for (std::size_t i = 0; i < requests.size(); ++i) {
    EXPECT_EQ(result.requests[i].error.has_value(), i == 0 || i == 3);
  }
  EXPECT_EQ(result.requests[3].error, "the prompt is empty");
}

TEST(LoadGenerator, all_requests_refused_still_ends) {
  FakeEngine engine({});
  std::vector<WorkloadRequest> requests(5000);  // as many nested submissions, one after the other
  const auto result = run_load(engine, {Phase::kMeasure, 1, requests}, {});
  EXPECT_TRUE(std::all_of(result.requests.begin(), result.requests.end(),
                          [](const auto& one) { return one.error.has_value(); }));
}

TEST(LoadGenerator, an_output_below_its_limit_ends_at_its_own_length) {
  FakeEngine engine({});
  auto requests = requests_of_lengths({3, 8, 5, 2});
  for (auto& request : requests) request.output_limit = 8;
  const auto result = run_load(engine, {Phase::kMeasure, 2, requests}, {});
  for (std::size_t i = 0; i < requests.size(); ++i) {
    EXPECT_FALSE(result.requests[i].error.has_value());
    EXPECT_EQ(result.requests[i].tokens.size(),
              static_cast<std::size_t>(requests[i].output_tokens));
  }
  EXPECT_EQ(engine.longest_limit, 8);
  EXPECT_EQ(engine.num_cancelled, 3);  // all but the one that reached its limit
  EXPECT_LE(engine.most_under_way, 2);
}

TEST(LoadGenerator, an_open_loop_sends_when_it_is_due_whatever_has_ended) {
  NullTarget target(/*answer_s=*/0.4);
  auto requests = requests_of_lengths(std::vector<std::int64_t>(50, 4));
  for (std::size_t i = 0; i < requests.size(); ++i) {
    requests[i].due_ns = static_cast<std::int64_t>(i) * 2'000'000;
  }
  const auto result = run_load(target, {Phase::kMeasure, 0, requests}, {});
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const auto& one = result.requests[i];
    EXPECT_EQ(one.intended_start_ns, result.start_ns + requests[i].due_ns);
    EXPECT_GE(one.start_ns, one.intended_start_ns);
    EXPECT_EQ(one.tokens.size(), 4U);
  }
  // All 50 are sent within 0.1 s, long before the first answer has ended.
  const auto& generator = result.details.at("generator");
  EXPECT_EQ(generator.at("in_flight_max"), 50);
  EXPECT_GE(generator.at("lateness_max_ms"), generator.at("lateness_p99_ms"));
  EXPECT_GT(generator.at("processor_s"), 0);
}

/// Takes a millisecond to take a request: a target that makes its generator late.
class SlowTarget : public NullTarget {
 public:
  SlowTarget() : NullTarget(0.001) {}
  std::optional<std::string> send(const WorkloadRequest& request, RequestResult& result,
                                  std::function<void()> on_end) override {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    return NullTarget::send(request, result, std::move(on_end));
  }
};

TEST(LoadGenerator, a_generator_that_comes_late_shows_it) {
  SlowTarget target;
  const auto requests = requests_of_lengths(std::vector<std::int64_t>(40, 1));  // all due at once
  const auto result = run_load(target, {Phase::kMeasure, 0, requests}, {});
  EXPECT_GE(result.details.at("generator").at("lateness_max_ms"), 39 * 2.0);
  EXPECT_GE(result.requests.back().start_ns - result.requests.back().intended_start_ns,
            39 * 2'000'000);
}

TEST(LoadGenerator, an_open_loop_counts_refusals) {
  NullTarget target(0.001);
  auto requests = requests_of_lengths({2, 2, 2});
  requests[1].prompt_tokens.clear();
  const auto result = run_load(target, {Phase::kMeasure, 0, requests}, {});
  EXPECT_EQ(result.requests[1].error, "the prompt is empty");
  EXPECT_FALSE(result.requests[2].error.has_value());
}

TEST(LoadGenerator, a_failed_step_is_the_error_of_its_request) {
  FakeEngine engine({});
  engine.failing_first_token = 2;
  const auto requests = requests_of_lengths({3, 3, 3});
  const auto result = run_load(engine, {Phase::kMeasure, 3, requests}, {});
  EXPECT_FALSE(result.requests[0].error.has_value());
  EXPECT_EQ(result.requests[1].error, "the step failed");
}

}  // namespace
}  // namespace iol::bench
