#include "bench/scenario.h"

#include <gtest/gtest.h>

#include <set>

#include "base/error.h"

namespace iol::bench {
namespace {

const auto kIds = PromptSource::random_ids(1000);

ScenarioOptions short_options() {
  ScenarioOptions options;
  options.num_repetitions = 3;
  options.num_warm_ups = 2;
  return options;
}

TEST(Scenario, default_is_latency_and_throughput_at_four_concurrencies) {
  const auto plan = make_plan(short_options(), kIds, 2048);
  std::vector<std::pair<std::string, int>> points;
  for (const auto& load : plan.loads) {
    points.emplace_back(load.point.scenario, load.point.concurrency);
    EXPECT_EQ(load.warm_ups.size(), 2);
    ASSERT_EQ(load.repetitions.size(), 3);
    for (const auto& run : load.repetitions) {
      EXPECT_EQ(run.size(), static_cast<std::size_t>(load.point.num_requests));
      EXPECT_EQ(load.point.num_requests % load.point.concurrency, 0);
    }
  }
  EXPECT_EQ(points, (std::vector<std::pair<std::string, int>>{{"latency", 1},
                                                              {"throughput", 1},
                                                              {"throughput", 4},
                                                              {"throughput", 16},
                                                              {"throughput", 64}}));
  EXPECT_EQ(plan.max_concurrency, 64);
  EXPECT_EQ(plan.max_request_tokens, 300);
  EXPECT_EQ(plan.num_runs_per_subject, 5 * 5);
}

TEST(Scenario, every_run_has_requests_of_its_own) {
  const auto plan = make_plan(short_options(), kIds, 2048);
  std::set<std::int64_t> ids;
  std::set<std::vector<std::int32_t>> prompts;
  std::size_t count = 0;
  for (const auto& load : plan.loads) {
    for (const auto* runs : {&load.warm_ups, &load.repetitions}) {
      for (const auto& run : *runs) {
        for (const auto& request : run) {
          ids.insert(request.id);
          prompts.insert(request.prompt_tokens);
          ++count;
        }
      }
    }
  }
  EXPECT_EQ(ids.size(), count);
  EXPECT_EQ(prompts.size(), count);
}

TEST(Scenario, warm_up_has_every_batch_size_that_static_batching_will_meet) {
  auto options = short_options();
  options.scenarios = {"throughput"};
  options.concurrencies = {8};
  for (const auto& [requests, warm_up] : std::vector<std::pair<std::int64_t, std::size_t>>{
           {20, 12}, {16, 8}, {8, 8}, {5, 5}, {9, 9}}) {
    options.num_requests = requests;
    const auto plan = make_plan(options, kIds, 2048);
    EXPECT_EQ(plan.loads[0].warm_ups[0].size(), warm_up) << requests;
  }
}

TEST(Scenario, repeated_concurrencies_are_measured_once) {
  auto options = short_options();
  options.concurrencies = {4, 2, 4};
  const auto plan = make_plan(options, kIds, 2048);
  ASSERT_EQ(plan.loads.size(), 3);
  EXPECT_EQ(plan.loads[1].point.concurrency, 4);
  EXPECT_EQ(plan.loads[2].point.concurrency, 2);
}

TEST(Scenario, refuses_what_makes_no_run) {
  const auto refused = [](auto&& change) {
    auto options = short_options();
    change(options);
    EXPECT_THROW(make_plan(options, kIds, 2048), InputError);
  };
  refused([](auto& options) { options.scenarios.clear(); });
  refused([](auto& options) { options.scenarios = {"nonsense"}; });
  refused([](auto& options) { options.concurrencies = {}; });
  refused([](auto& options) { options.concurrencies = {4, 0}; });
  refused([](auto& options) { options.concurrencies = {1 << 20}; });
  refused([](auto& options) { options.num_repetitions = 0; });
  refused([](auto& options) { options.num_warm_ups = -1; });
  refused([](auto& options) { options.num_requests = 0; });
  refused([](auto& options) {
    options.input_tokens = LengthDistribution::parse("1900", "--input-tokens");
  });
}

}  // namespace
}  // namespace iol::bench
