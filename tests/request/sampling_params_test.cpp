#include "request/sampling_params.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "base/error.h"

namespace iol {
namespace {

constexpr int kVocabSize = 100;
const double kNan = std::numeric_limits<double>::quiet_NaN();
const double kInfinity = std::numeric_limits<double>::infinity();

std::string message_of(const SamplingParams& sampling) {
  try {
    sampling.validate(kVocabSize);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

template <class Value>
void expect_refused(Value SamplingParams::*field, Value value, const std::string& name,
                    const std::string& shown) {
  SamplingParams sampling;
  sampling.*field = value;
  const std::string message = message_of(sampling);
  EXPECT_THAT(message, ::testing::StartsWith(name + " is " + shown + ";"));
  EXPECT_THAT(message, ::testing::HasSubstr("must be"));
  EXPECT_THAT(message, ::testing::Not(::testing::HasSubstr("\n")));
}

template <class Value>
void expect_accepted(Value SamplingParams::*field, Value value) {
  SamplingParams sampling;
  sampling.*field = value;
  EXPECT_EQ(message_of(sampling), "");
}

TEST(SamplingParams, defaults_are_valid) { EXPECT_EQ(message_of({}), ""); }

TEST(SamplingParams, numbers_that_are_none_are_refused_everywhere) {
  const std::vector<std::pair<double SamplingParams::*, std::string>> fields = {
      {&SamplingParams::temperature, "temperature"},
      {&SamplingParams::top_p, "top_p"},
      {&SamplingParams::min_p, "min_p"},
      {&SamplingParams::repetition_penalty, "repetition_penalty"},
      {&SamplingParams::presence_penalty, "presence_penalty"},
      {&SamplingParams::frequency_penalty, "frequency_penalty"},
  };
  for (const auto& [field, name] : fields) {
    expect_refused(field, kNan, name, "nan");
    expect_refused(field, kInfinity, name, "inf");
    expect_refused(field, -kInfinity, name, "-inf");
  }
}

TEST(SamplingParams, ranges_end_where_they_say) {
  expect_refused(&SamplingParams::temperature, -0.1, "temperature", "-0.1");
  expect_accepted(&SamplingParams::temperature, 0.0);
  expect_accepted(&SamplingParams::temperature, 2.0);
  expect_refused(&SamplingParams::top_k, -1, "top_k", "-1");
  expect_accepted(&SamplingParams::top_k, 1000);
  expect_refused(&SamplingParams::top_p, 0.0, "top_p", "0");
  expect_refused(&SamplingParams::top_p, 1.01, "top_p", "1.01");
  expect_accepted(&SamplingParams::top_p, 1.0);
  expect_refused(&SamplingParams::min_p, -0.01, "min_p", "-0.01");
  expect_refused(&SamplingParams::min_p, 1.5, "min_p", "1.5");
  expect_accepted(&SamplingParams::min_p, 1.0);
  expect_refused(&SamplingParams::repetition_penalty, 0.0, "repetition_penalty", "0");
  expect_accepted(&SamplingParams::repetition_penalty, 0.5);
  expect_refused(&SamplingParams::presence_penalty, -2.1, "presence_penalty", "-2.1");
  expect_accepted(&SamplingParams::presence_penalty, -2.0);
  expect_refused(&SamplingParams::frequency_penalty, 2.1, "frequency_penalty", "2.1");
  expect_accepted(&SamplingParams::frequency_penalty, 2.0);
  expect_refused(&SamplingParams::max_tokens, 0, "max_tokens", "0");
  expect_accepted(&SamplingParams::max_tokens, 1);
  expect_refused(&SamplingParams::min_tokens, -1, "min_tokens", "-1");
  expect_refused(&SamplingParams::min_tokens, 17, "min_tokens", "17");
  expect_accepted(&SamplingParams::min_tokens, 16);
  EXPECT_THAT(message_of({.num_logprobs = -1}), ::testing::StartsWith("num_logprobs is -1;"));
  EXPECT_THAT(message_of({.num_logprobs = 21}), ::testing::StartsWith("num_logprobs is 21;"));
  EXPECT_EQ(message_of({.num_logprobs = 20}), "");
  EXPECT_EQ(message_of({.num_logprobs = 0}), "");
}

TEST(SamplingParams, tokens_must_be_in_the_vocabulary) {
  EXPECT_EQ(message_of({.logit_bias = {{0, 1.0F}, {99, -100.0F}}}), "");
  EXPECT_THAT(message_of({.logit_bias = {{100, 1.0F}}}),
              ::testing::StartsWith("logit_bias names token 100;"));
  EXPECT_THAT(message_of({.logit_bias = {{-1, 1.0F}}}),
              ::testing::StartsWith("logit_bias names token -1;"));
  EXPECT_THAT(message_of({.logit_bias = {{5, std::nanf("")}}}),
              ::testing::StartsWith("logit_bias of token 5 is nan;"));
  EXPECT_THAT(message_of({.logit_bias = {{5, 101.0F}}}),
              ::testing::StartsWith("logit_bias of token 5 is 101;"));
  EXPECT_EQ(message_of({.stop_token_ids = {0, 99}}), "");
  EXPECT_THAT(message_of({.stop_token_ids = {100}}),
              ::testing::StartsWith("stop_token_ids names token 100;"));
}

TEST(SamplingParams, stop_strings_are_text) {
  EXPECT_EQ(message_of({.stop = {"\n", "é"}}), "");
  EXPECT_THAT(message_of({.stop = {"a", ""}}), ::testing::StartsWith("stop[1] is empty;"));
  EXPECT_THAT(message_of({.stop = {"\xC3"}}), ::testing::StartsWith("stop[0] is not valid UTF-8;"));
}

}  // namespace
}  // namespace iol
