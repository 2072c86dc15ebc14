// Thousands of random schedules; tests/scheduler/simulation.h says what each step must keep to.
#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/scheduler/simulation.h"

namespace iol {
namespace {

using testing::Simulation;
using testing::SimulationConfig;

struct Totals {
  std::int64_t preemptions = 0;
  std::int64_t hit_tokens = 0;
  int finished = 0;
  int cancelled = 0;
  int failed = 0;
  int drafts = 0;
  int accepted = 0;
  std::int64_t swapped_out = 0;
  std::int64_t swapped_in = 0;
};

SimulationConfig random_config(std::uint64_t seed) {
  RandomStream random(seed, 99);
  const auto between = [&](int low, int high) {
    return low + static_cast<int>(random.below(static_cast<std::uint64_t>(high - low + 1)));
  };
  SimulationConfig config;
  config.seed = seed;
  config.scheduler.max_batch = between(1, 8);
  config.scheduler.max_step_tokens = between(1, 24);
  config.scheduler.max_context = between(8, 48);
  config.blocks.block_size = between(1, 5);
  config.blocks.num_blocks = between(4, 24);
  config.blocks.prefix_cache = random.below(2) == 0;
  config.num_requests = between(1, 30);
  config.max_prompt = between(1, std::min(24, config.scheduler.max_context));
  config.max_output = between(1, 24);
  config.num_priorities = between(1, 4);
  config.max_arrivals_per_step = between(0, 4);
  if (random.below(3) == 0) config.cancel_rate = 0.05;
  if (random.below(6) == 0) config.failure_rate = 0.02;
  if (random.below(2) == 0) config.blocks.num_swap_slots = between(1, 2 * config.blocks.num_blocks);
  if (random.below(2) == 0) {
    config.max_drafts = between(1, 6);
    config.scheduler.max_step_drafts = between(1, 12);
  }
  return config;
}

Totals run_many(SchedulerPolicy policy, KvAllocation allocation, std::uint64_t num_schedules) {
  Totals totals;
  for (std::uint64_t seed = 0; seed < num_schedules; ++seed) {
    SimulationConfig config = random_config(seed);
    config.scheduler.policy = policy;
    config.blocks.allocation = allocation;
    Simulation simulation(config);
    simulation.run();
    if (::testing::Test::HasFatalFailure()) {
      ADD_FAILURE() << "in the schedule of seed " << seed;
      return totals;
    }
    totals.preemptions += simulation.num_preemptions();
    totals.hit_tokens += simulation.num_hit_tokens();
    totals.drafts += simulation.num_drafts();
    totals.accepted += simulation.num_accepted();
    totals.finished += simulation.num_finished();
    totals.cancelled += simulation.num_cancelled();
    totals.failed += simulation.num_failed();
    totals.swapped_out += simulation.num_swapped_out();
    totals.swapped_in += simulation.num_swapped_in();
  }
  return totals;
}

TEST(SchedulerRandom, in_flight_paged_keeps_every_rule) {
  const Totals totals = run_many(SchedulerPolicy::kInFlight, KvAllocation::kPaged, 12000);
  // The schedules did reach what they are for.
  EXPECT_GT(totals.preemptions, 2000);
  EXPECT_GT(totals.hit_tokens, 1000);
  EXPECT_GT(totals.finished, 50000);
  EXPECT_GT(totals.cancelled, 500);
  EXPECT_GT(totals.failed, 100);
  EXPECT_GT(totals.drafts, 20000);
  EXPECT_GT(totals.accepted, 10000);
  EXPECT_GT(totals.swapped_in, 1000);
  EXPECT_GT(totals.swapped_out, totals.swapped_in);  // some ended on the host, some were shared
}

TEST(SchedulerRandom, in_flight_contiguous_keeps_every_rule_and_never_preempts) {
  const Totals totals = run_many(SchedulerPolicy::kInFlight, KvAllocation::kContiguous, 1500);
  EXPECT_EQ(totals.preemptions, 0);
  EXPECT_GT(totals.finished, 5000);
}

TEST(SchedulerRandom, static_paged_never_mixes_generations) {
  const Totals totals = run_many(SchedulerPolicy::kStatic, KvAllocation::kPaged, 1500);
  EXPECT_EQ(totals.preemptions, 0);
  EXPECT_GT(totals.finished, 5000);
}

TEST(SchedulerRandom, static_contiguous_never_mixes_generations) {
  const Totals totals = run_many(SchedulerPolicy::kStatic, KvAllocation::kContiguous, 1500);
  EXPECT_GT(totals.finished, 5000);
}

}  // namespace
}  // namespace iol
