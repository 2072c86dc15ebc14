#include "sampler/stop_checker.h"

#include <gtest/gtest.h>

namespace iol {
namespace {

class StopCheckerTest : public ::testing::Test {
 protected:
  std::optional<FinishReason> after(std::vector<std::int32_t> output) {
    Sequence sequence;
    sequence.sampling = sampling_;
    sequence.tokens = {2, 9};  // end-of-sequence and stop tokens of the prompt do not count
    sequence.num_prompt_tokens = 2;
    sequence.tokens.insert(sequence.tokens.end(), output.begin(), output.end());
    return StopChecker(eos_, 8).check(sequence);
  }

  std::vector<std::int32_t> eos_{2, 3};
  SamplingParams sampling_{.max_tokens = 5, .stop_token_ids = {9}};
};

TEST_F(StopCheckerTest, any_end_of_sequence_or_stop_token_ends) {
  EXPECT_EQ(after({1}), std::nullopt);
  EXPECT_EQ(after({1, 2}), FinishReason::kStop);
  EXPECT_EQ(after({1, 3}), FinishReason::kStop);
  EXPECT_EQ(after({1, 9}), FinishReason::kStop);
}

TEST_F(StopCheckerTest, ignore_eos_leaves_stop_tokens) {
  sampling_.ignore_eos = true;
  EXPECT_EQ(after({1, 2}), std::nullopt);
  EXPECT_EQ(after({1, 9}), FinishReason::kStop);
}

TEST_F(StopCheckerTest, nothing_stops_before_min_tokens) {
  sampling_.min_tokens = 2;
  EXPECT_EQ(after({2}), std::nullopt);
  EXPECT_EQ(after({1, 9}), std::nullopt);
  EXPECT_EQ(after({1, 1, 9}), FinishReason::kStop);
}

TEST_F(StopCheckerTest, max_tokens_and_context_end_by_length) {
  EXPECT_EQ(after({1, 1, 1, 1}), std::nullopt);
  EXPECT_EQ(after({1, 1, 1, 1, 1}), FinishReason::kLength);
  EXPECT_EQ(after({1, 1, 1, 1, 2}), FinishReason::kStop);
  sampling_.max_tokens = 100;
  EXPECT_EQ(after({1, 1, 1, 1, 1}), std::nullopt);
  EXPECT_EQ(after({1, 1, 1, 1, 1, 1}), FinishReason::kLength);
}

}  // namespace
}  // namespace iol
