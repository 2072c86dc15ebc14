#include "workload/prompts.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/error.h"

namespace iol {
namespace {

std::vector<std::int32_t> counting_text(std::int32_t size) {
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(size));
  for (std::int32_t i = 0; i < size; ++i) tokens[static_cast<std::size_t>(i)] = i;
  return tokens;
}

const auto kTen = LengthDistribution::parse("10", "--input-tokens");

TEST(Prompts, are_windows_of_the_text) {
  const auto source = PromptSource::from_text(counting_text(1000));
  std::set<std::int32_t> starts;
  for (const auto& request : make_requests(source, kTen, kTen, 0, 200, 3, 2048)) {
    ASSERT_EQ(request.prompt_tokens.size(), 10);
    starts.insert(request.prompt_tokens.front());
    for (std::size_t i = 1; i < 10; ++i) {
      EXPECT_EQ(request.prompt_tokens[i], request.prompt_tokens[i - 1] + 1);
    }
  }
  EXPECT_GT(starts.size(), 150U);  // 200 draws out of 991: about 181 different ones
}

TEST(Prompts, longer_than_the_text_wrap_around) {
  const auto source = PromptSource::from_text(counting_text(4));
  RandomStream random(1);
  const auto tokens = source.take(11, random);
  ASSERT_EQ(tokens.size(), 11);
  for (std::size_t i = 1; i < tokens.size(); ++i) EXPECT_EQ(tokens[i], (tokens[i - 1] + 1) % 4);
}

TEST(Prompts, as_long_as_the_text_are_the_text) {
  const auto source = PromptSource::from_text(counting_text(10));
  RandomStream random(5);
  EXPECT_EQ(source.take(10, random), counting_text(10));
}

TEST(Prompts, of_random_ids_stay_inside_the_vocabulary) {
  const auto source = PromptSource::random_ids(7);
  RandomStream random(1);
  const auto tokens = source.take(2000, random);
  EXPECT_EQ(*std::min_element(tokens.begin(), tokens.end()), 0);
  EXPECT_EQ(*std::max_element(tokens.begin(), tokens.end()), 6);
}

TEST(Prompts, of_a_request_depend_on_its_number_and_the_seed_alone) {
  const auto source = PromptSource::from_text(counting_text(5000));
  const auto lengths = LengthDistribution::parse("uniform:5:50", "--input-tokens");
  const auto all = make_requests(source, lengths, lengths, 0, 20, 9, 2048);
  const auto later = make_requests(source, lengths, lengths, 12, 8, 9, 2048);
  const auto other_seed = make_requests(source, lengths, lengths, 0, 20, 10, 2048);
  int equal = 0;
  for (std::size_t i = 0; i < 8; ++i) {
    EXPECT_EQ(later[i].id, all[i + 12].id);
    EXPECT_EQ(later[i].prompt_tokens, all[i + 12].prompt_tokens);
    EXPECT_EQ(later[i].output_tokens, all[i + 12].output_tokens);
    equal += other_seed[i].prompt_tokens == all[i].prompt_tokens ? 1 : 0;
  }
  EXPECT_EQ(equal, 0);
}

TEST(Prompts, refuse_a_text_without_tokens) {
  EXPECT_THROW(PromptSource::from_text({}), InputError);
}

TEST(Prompts, refuse_a_request_longer_than_the_context_before_making_it) {
  const auto source = PromptSource::random_ids(10);
  const auto huge = LengthDistribution::parse("1000000000", "--input-tokens");
  EXPECT_THROW(make_requests(source, huge, kTen, 0, 1000000, 0, 2048), InputError);
  EXPECT_THROW(make_requests(source, kTen, kTen, 0, 1, 0, 19), InputError);
  EXPECT_EQ(make_requests(source, kTen, kTen, 0, 1, 0, 20).size(), 1U);
}

}  // namespace
}  // namespace iol
