#include "speculative/output_lengths.h"

#include <gtest/gtest.h>

namespace iol {
namespace {

TEST(OutputLengths, expects_many_tokens_before_any_request_has_ended) {
  const OutputLengths lengths;
  EXPECT_GE(lengths.expected_rest(0), 100);
  EXPECT_GE(lengths.expected_rest(1000), 100);
}

TEST(OutputLengths, expects_what_longer_ones_had_before_them) {
  OutputLengths lengths;
  for (int i = 0; i < 40; ++i) lengths.observe(i % 2 == 0 ? 10 : 50);
  // The mean of 10 and 50; past 10 tokens those of 50 are left.
  EXPECT_NEAR(lengths.expected_rest(0), 30, 5);
  EXPECT_NEAR(lengths.expected_rest(9), 21, 5);
  EXPECT_NEAR(lengths.expected_rest(10), 40, 5);
  EXPECT_NEAR(lengths.expected_rest(45), 5, 6);
}

TEST(OutputLengths, expects_as_much_again_of_one_longer_than_all) {
  OutputLengths lengths;
  for (int i = 0; i < 40; ++i) lengths.observe(10);
  EXPECT_GE(lengths.expected_rest(500), 500);
}

TEST(OutputLengths, knows_how_likely_more_tokens_are_wanted) {
  OutputLengths lengths;
  for (const float chance : lengths.wanted_chances(7)) EXPECT_EQ(chance, 1.0F);
  for (int i = 0; i < 60; ++i) lengths.observe(i % 3 == 0 ? 10 : 12 + i % 3);
  // Of 8 tokens: a third want 10, the others 13 and 14.
  const DraftChances chances = lengths.wanted_chances(8);
  EXPECT_EQ(chances[0], 1.0F);                       // 10
  EXPECT_NEAR(chances[1], 0.67, 0.01);               // 11
  EXPECT_NEAR(chances[3], 0.67, 0.01);               // 13
  EXPECT_NEAR(chances[4], 0.33, 0.01);               // 14
  EXPECT_LT(chances[5], 0.01);                       // 15
  EXPECT_EQ(lengths.wanted_chances(100)[15], 1.0F);  // longer than all
}

TEST(OutputLengths, forgets_what_ended_long_ago) {
  OutputLengths lengths;
  for (int i = 0; i < 200; ++i) lengths.observe(1000);
  for (int i = 0; i < 64; ++i) lengths.observe(20);
  EXPECT_NEAR(lengths.expected_rest(0), 20, 3);
}

}  // namespace
}  // namespace iol
