// What steps are said to take, at made-up times: no clock.
#include "engine/step_clock.h"

#include <gtest/gtest.h>

namespace iol {
namespace {

/// A step that the host began at `from` and until `to`.
StepUnderWay begun(StepClock& clock, std::int64_t from, std::int64_t to, int num_drafts = 0) {
  Batch batch;
  batch.num_draft_tokens = num_drafts;
  StepUnderWay step(batch);
  step.begin_ns = from;
  clock.on_begun(step, to);
  return step;
}
/// The device is through with it at `end`, the host at `done`.
StepTime finished(StepClock& clock, const StepUnderWay& step, std::int64_t end, std::int64_t done) {
  clock.on_ended(step, end);
  const StepTime time = clock.time_of(step, done);
  clock.on_done(done);
  return time;
}

TEST(StepClock, a_step_that_was_begun_ahead_takes_what_the_device_takes) {
  StepClock clock;
  clock.on_idle(0);
  const StepUnderWay first = begun(clock, 10, 20);
  const StepUnderWay second = begun(clock, 30, 40);
  EXPECT_EQ(finished(clock, first, 110, 150).step_ns, 100);
  const StepTime time = finished(clock, second, 210, 250);
  EXPECT_EQ(time.step_ns, 100);
  EXPECT_EQ(time.drafting_ns, 0);
}

TEST(StepClock, a_step_with_drafts_pays_for_the_host_and_for_what_would_be_hidden) {
  StepClock clock;
  clock.on_idle(0);
  finished(clock, begun(clock, 10, 20), 110, 150);
  // 50 to propose, 30 to begin, the device until 310, 25 to deliver.
  const StepTime time = finished(clock, begun(clock, 200, 230, 4), 310, 335);
  EXPECT_EQ(time.step_ns, 80);
  EXPECT_EQ(time.drafting_ns, 50 + 30 + 25);
}

TEST(StepClock, no_more_is_hidden_than_the_step_before_lasts) {
  StepClock clock;
  clock.on_idle(0);
  finished(clock, begun(clock, 10, 90), 110, 150);  // 20 once it was begun
  const StepTime time = finished(clock, begun(clock, 200, 300, 1), 310, 310);
  EXPECT_EQ(time.step_ns, 110 - 20);
  EXPECT_EQ(time.drafting_ns, 50 + 20);
}

TEST(StepClock, a_step_behind_one_with_drafts_was_held_up_by_them) {
  StepClock clock;
  clock.on_idle(0);
  finished(clock, begun(clock, 0, 10, 2), 110, 150);
  const StepTime time = finished(clock, begun(clock, 170, 180), 280, 300);
  EXPECT_EQ(time.step_ns, 100);
  EXPECT_EQ(time.drafting_ns, 20 + 10);
}

TEST(StepClock, so_was_one_that_waited_for_drafts_in_vain_unless_there_was_nothing_to_do) {
  for (const bool was_idle : {false, true}) {
    StepClock clock;
    clock.on_idle(0);
    finished(clock, begun(clock, 0, 10), 110, 150);
    clock.on_waiting();
    if (was_idle) clock.on_idle(160);
    const StepTime time = finished(clock, begun(clock, 170, 180), 280, 300);
    EXPECT_EQ(time.drafting_ns, was_idle ? 0 : 30);
  }
}

}  // namespace
}  // namespace iol
