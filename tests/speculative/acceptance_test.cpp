#include "speculative/acceptance.h"

#include <gtest/gtest.h>

namespace iol {
namespace {

TEST(Acceptance, tells_places_apart) {
  Acceptance all(0.6, 400);
  for (int i = 0; i < 200; ++i) {
    all.observe(0, i % 2 == 0);
    if (i % 2 == 0) all.observe(1, true);
  }
  EXPECT_NEAR(all.rate(0), 0.5, 0.02);
  EXPECT_NEAR(all.rate(1), 1, 0.03);
  const DraftChances chances = all.likely_chances();
  EXPECT_NEAR(chances[0], 0.5, 0.02);
  EXPECT_NEAR(chances[1], 0.5, 0.03);
}

TEST(Acceptance, a_place_that_was_not_seen_takes_after_the_one_before) {
  Acceptance all(0.6, 400);
  for (int i = 0; i < 400; ++i) all.observe(0, i % 10 == 0);
  EXPECT_NEAR(all.rate(1), 0.1, 0.02);
  EXPECT_NEAR(all.rate(kMaxDraftDepth - 1), 0.1, 0.02);
}

TEST(Acceptance, a_request_begins_with_what_others_saw_and_finds_its_own) {
  Acceptance all(0.6, 400);
  for (int i = 0; i < 400; ++i) all.observe(0, i % 10 < 2);
  Acceptance own(all, 40);
  EXPECT_NEAR(own.rate(0), 0.2, 0.02);
  for (int i = 0; i < 60; ++i) own.observe(0, true);
  EXPECT_GT(own.rate(0), 0.85);
}

TEST(Acceptance, hope_is_above_what_is_likely_and_shrinks_with_evidence) {
  Acceptance few(0.6, 400);
  Acceptance many(0.6, 400);
  for (int i = 0; i < 5; ++i) few.observe(0, false);
  for (int i = 0; i < 400; ++i) many.observe(0, false);
  EXPECT_GT(few.hopeful_chances()[0], few.likely_chances()[0] + 0.1);
  EXPECT_GT(many.hopeful_chances()[0], many.likely_chances()[0]);
  EXPECT_LT(many.hopeful_chances()[0], 0.05);
}

TEST(Acceptance, what_was_not_seen_for_long_keeps_its_rate_and_loses_its_weight) {
  Acceptance all(0.6, 400);
  for (int i = 0; i < 400; ++i) all.observe(0, i % 10 == 0);
  const double before = all.rate(0);
  const float hope_before = all.hopeful_chances()[0];
  for (int step = 0; step < 5000; ++step) all.fade();
  EXPECT_NEAR(all.rate(0), before, 1e-9);
  EXPECT_GT(all.hopeful_chances()[0], hope_before + 0.1F);
  for (int i = 0; i < 8; ++i) all.observe(0, true);
  EXPECT_GT(all.rate(0), 0.6);
}

}  // namespace
}  // namespace iol
