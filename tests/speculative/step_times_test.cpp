#include "speculative/step_times.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace iol {
namespace {

TEST(StepTimes, learns_a_line_and_what_lies_between_and_beyond) {
  StepTimes times(1);
  for (int i = 0; i < 50; ++i) {
    for (const int rows : {1, 2, 4, 8, 64}) times.observe(rows, 0.010 + 0.001 * rows);
  }
  for (const int rows : {1, 2, 3, 4, 6, 8, 30, 64}) {
    EXPECT_NEAR(times.seconds(rows), 0.010 + 0.001 * rows, 1e-4) << rows;
  }
  EXPECT_NEAR(times.seconds(128), 0.138, 0.003);
}

TEST(StepTimes, a_slower_machine_moves_rows_that_were_not_seen_lately) {
  StepTimes times(1);
  for (int i = 0; i < 100; ++i) {
    times.observe(1, 0.010);
    times.observe(4, 0.013);
  }
  for (int i = 0; i < 300; ++i) times.observe(1, 0.020);
  EXPECT_NEAR(times.seconds(1), 0.020, 0.0005);
  EXPECT_GT(times.seconds(4), 0.020);
}

TEST(StepTimes, one_outlier_is_hardly_seen) {
  StepTimes times(1);
  for (int i = 0; i < 50; ++i) times.observe(1, 0.010);
  times.observe(1, 10.0);
  EXPECT_LT(times.seconds(1), 0.0115);
}

TEST(StepTimes, noise_averages_out) {
  StepTimes times(1);
  RandomStream random(1);
  for (int i = 0; i < 2000; ++i) {
    const int rows = 1 + static_cast<int>(random.below(8));
    times.observe(rows, (0.010 + 0.0005 * rows) * (0.9 + 0.2 * random.uniform()));
  }
  for (int rows = 1; rows <= 8; ++rows) {
    EXPECT_NEAR(times.seconds(rows), 0.010 + 0.0005 * rows, 0.0006) << rows;
  }
}

TEST(StepTimes, guesses_before_anything_was_seen) {
  StepTimes times(0.25);
  EXPECT_FALSE(times.has_seen_any());
  EXPECT_DOUBLE_EQ(times.seconds(1), 0.25);
  EXPECT_GT(times.seconds(4), 0.25);
  times.observe(1, 0.5);
  EXPECT_TRUE(times.has_seen_about(1));
  EXPECT_FALSE(times.has_seen_about(2));
  EXPECT_DOUBLE_EQ(times.seconds(1), 0.5);
}

}  // namespace
}  // namespace iol
