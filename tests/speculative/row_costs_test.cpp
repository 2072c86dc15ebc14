// What rows take, of steps whose times a formula gives.
#include "speculative/row_costs.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace iol {
namespace {

/// So many steps of up to 300 rows of prompts and 50 to 150 others, `noise` relative.
void observe_steps(RowCosts& costs, int count, double with_logits, double noise,
                   RandomStream& random) {
  for (int i = 0; i < count; ++i) {
    const int prompts = static_cast<int>(random.below(300));
    const int others = 50 + static_cast<int>(random.below(100));
    const double seconds = 0.5e-3 + 27e-6 * prompts + with_logits * others;
    costs.observe(prompts, others, seconds * (1 + noise * (2 * random.uniform() - 1)));
  }
}

TEST(RowCosts, are_those_of_the_formula) {
  RandomStream random(1, 0);
  RowCosts costs;
  observe_steps(costs, 50, 42e-6, 0, random);
  EXPECT_NEAR(costs.least_seconds(), 42e-6, 1e-9);
  EXPECT_NEAR(costs.seconds_beside_prompts(58).value(), 0.5e-3 + 58 * 42e-6, 1e-8);
}

TEST(RowCosts, are_bounds_where_times_are_noisy) {
  int num_below = 0;
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    RandomStream random(seed, 0);
    RowCosts costs;
    observe_steps(costs, 400, 42e-6, 0.2, random);
    EXPECT_NEAR(costs.least_seconds(), 42e-6, 15e-6);
    if (costs.least_seconds() < 42e-6) ++num_below;
  }
  EXPECT_GT(num_below, 35);  // five in six
}

TEST(RowCosts, follow_a_machine_that_changes) {
  RandomStream random(2, 0);
  RowCosts costs;
  observe_steps(costs, 500, 42e-6, 0.05, random);
  observe_steps(costs, 1500, 80e-6, 0.05, random);
  EXPECT_NEAR(costs.least_seconds(), 80e-6, 5e-6);
}

TEST(RowCosts, are_unknown_while_rows_say_nothing) {
  RowCosts costs;
  EXPECT_EQ(costs.least_seconds(), 0);
  EXPECT_FALSE(costs.seconds_beside_prompts(58));
  for (int i = 0; i < 100; ++i) costs.observe(i, 64, 1e-3 + 27e-6 * i);
  EXPECT_EQ(costs.least_seconds(), 0) << "always as many";
  RowCosts together;
  for (int i = 0; i < 100; ++i) together.observe(3 * i, i, 1e-3 + 27e-6 * i);
  EXPECT_EQ(together.least_seconds(), 0) << "both more at a time";
}

}  // namespace
}  // namespace iol
