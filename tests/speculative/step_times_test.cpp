#include "speculative/step_times.h"

#include <gtest/gtest.h>

#include <algorithm>

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

TEST(StepTimes, a_slow_first_pass_does_not_stand) {
  StepTimes times(1);
  times.observe(1, 0.080);  // memory that is touched for the first time
  times.observe(1, 0.010);
  EXPECT_NEAR(times.seconds(1), 0.010, 1e-6);
}

TEST(StepTimes, what_was_seen_once_is_forgotten_in_the_end) {
  StepTimes times(1);
  for (int i = 0; i < 50; ++i) times.observe(1, 0.010);
  times.observe(4, 0.080);  // a slow moment
  EXPECT_GT(times.seconds(4), 0.05);
  for (int i = 0; i < 600; ++i) times.observe(1, 0.010);
  EXPECT_LT(times.seconds(4), 0.02);
  EXPECT_EQ(times.most_rows(), 1);
}

TEST(StepTimes, doubt_shrinks_with_what_is_seen) {
  StepTimes times(1);
  RandomStream random(1);
  const auto noisy = [&](double seconds) { return seconds * (0.9 + 0.2 * random.uniform()); };
  for (int i = 0; i < 50; ++i) times.observe(1, noisy(0.010));
  times.observe(2, noisy(0.011));
  const double doubt = times.doubt_seconds(2);
  for (int i = 0; i < 50; ++i) times.observe(2, noisy(0.011));
  EXPECT_LT(times.doubt_seconds(2), doubt / 3);
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

TEST(StepTimes, many_rows_that_took_long_are_not_taken_for_free_once_forgotten) {
  // Up to 16 rows cost nothing; a prompt of 1,600 does.
  const auto seconds = [](int rows) { return 0.001 + 0.0001 * std::max(0, rows - 16); };
  StepTimes times(1.0);
  for (int i = 0; i < 200; ++i) {
    for (const int rows : {1, 4, 16}) times.observe(rows, seconds(rows));
  }
  times.observe(1600, seconds(1600));
  times.observe(1600, seconds(1600));
  for (int i = 0; i < 600; ++i) times.observe(i % 2 == 0 ? 4 : 16, seconds(16));
  EXPECT_LE(times.most_rows(), 16);  // forgotten
  EXPECT_GT(times.seconds(1600), 0.3 * seconds(1600));
  EXPECT_LT(times.seconds(1600), 3 * seconds(1600));
  EXPECT_NEAR(times.seconds(24), seconds(16), 0.2 * seconds(16));  // near ones go by their own
}

}  // namespace
}  // namespace iol
