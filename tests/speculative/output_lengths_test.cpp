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

TEST(OutputLengths, forgets_what_ended_long_ago) {
  OutputLengths lengths;
  for (int i = 0; i < 200; ++i) lengths.observe(1000);
  for (int i = 0; i < 64; ++i) lengths.observe(20);
  EXPECT_NEAR(lengths.expected_rest(0), 20, 3);
}

}  // namespace
}  // namespace iol
