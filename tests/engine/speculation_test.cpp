// Speculation changes how fast tokens come and nothing else. That greedy and seeded requests get
// the same tokens and log-probabilities under random schedules is shown by invariance_test.cpp.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>

#include "base/error.h"
#include "engine/draft_model.h"
#include "tests/engine/speculation_setup.h"
#include "tests/sampler/chi_square.h"
#include "tokenizer/tokenizer.h"

namespace iol::test {
namespace {

using iol::testing::chi_square_bound;
using ::testing::HasSubstr;

/// Requests that end in every way and use everything that looks at tokens one by one.
std::vector<Request> all_kinds_of_requests(const Engine& engine) {
  Request plain;
  plain.prompt_tokens = engine.tokenizer()->encode(kText);
  plain.sampling.max_tokens = 60;
  std::vector<Request> requests(9, plain);
  requests[1].sampling.max_tokens = 1;
  requests[2].sampling.max_tokens = 2;
  requests[3].sampling.stop = {"he ", "man w"};
  requests[4].sampling.stop_token_ids = {engine.tokenizer()->encode(" and", false).front()};
  requests[4].sampling.min_tokens = 7;
  requests[5].sampling.repetition_penalty = 1.3;
  requests[5].sampling.frequency_penalty = 0.5;
  requests[5].sampling.num_logprobs = 3;
  requests[6].sampling.logit_bias = {{engine.tokenizer()->encode(" the", false).front(), -5.0F}};
  requests[6].sampling.min_tokens = 20;
  requests[7].sampling.temperature = 0.9;
  requests[7].sampling.top_p = 0.9;
  requests[7].sampling.presence_penalty = 0.4;
  requests[7].sampling.num_logprobs = 2;
  requests[7].sampling.seed = 11;
  requests[8].sampling.max_tokens = 10000;  // the context ends it
  requests[8].sampling.ignore_eos = true;
  return requests;
}

TEST(Speculation, everything_but_the_speed_is_as_without) {
  const auto plain = Engine::create(small_config());
  const auto requests = all_kinds_of_requests(*plain);
  const auto expected = run(*plain, requests);
  EXPECT_EQ(expected[3].finish_reason, FinishReason::kStop);
  for (const std::string& who :
       {std::string("ngram"), draft().path(), perfect_draft().path(), "ngram," + draft().path()}) {
    for (const std::optional<int> depth :
         {std::optional<int>(), std::optional(1), std::optional(5), std::optional(16)}) {
      const auto engine = Engine::create(with_draft(who, depth));
      const auto outcomes = run(*engine, requests);
      for (std::size_t i = 0; i < requests.size(); ++i) {
        SCOPED_TRACE(::testing::Message() << who << ", depth " << depth.value_or(-1) << ", " << i);
        ASSERT_EQ(outcomes[i].tokens, expected[i].tokens);
        ASSERT_EQ(outcomes[i].text, expected[i].text);
        ASSERT_EQ(outcomes[i].finish_reason, expected[i].finish_reason);
        ASSERT_EQ(outcomes[i].num_ends, 1);
        ASSERT_TRUE(identical(outcomes[i], expected[i], expected[i].tokens.size()));
      }
      const EngineStats stats = engine->stats();
      EXPECT_EQ(stats.draft_error, "");
      EXPECT_EQ(stats.num_blocks_used, 0);
      EXPECT_LE(stats.num_accepted_draft_tokens, stats.num_draft_tokens);
      if (depth) {  // a draft as large as the model does not pay, and auto finds out
        EXPECT_GT(stats.num_accepted_draft_tokens, 0) << who;
        EXPECT_LT(stats.num_steps, plain->stats().num_steps) << who;
      }
    }
  }
}

TEST(Speculation, a_draft_that_is_always_right_is_always_accepted) {
  const auto engine = Engine::create(with_draft(perfect_draft().path(), 4));
  Request request;
  request.prompt_tokens = engine->tokenizer()->encode(kText);
  request.sampling.max_tokens = 101;
  request.sampling.ignore_eos = true;
  for (const double temperature : {0.0, 1.0}) {  // rejection sampling accepts it as well
    request.sampling.temperature = temperature;
    const EngineStats before = engine->stats();
    int num_drafted = 0;
    engine->submit(request, [&](const TokenEvent& event) { num_drafted += event.was_drafted; });
    engine->drain();
    const EngineStats after = engine->stats();
    // The prompt's token, then 4 accepted and one of the model's own a step.
    EXPECT_EQ(after.num_steps - before.num_steps, 1 + 20);
    EXPECT_EQ(after.num_draft_tokens - before.num_draft_tokens, 80);
    EXPECT_EQ(after.num_accepted_draft_tokens - before.num_accepted_draft_tokens, 80);
    EXPECT_EQ(num_drafted, 80);
  }
}

TEST(Speculation, depth_zero_drafts_nothing) {
  const auto engine = Engine::create(with_draft("ngram," + draft().path(), 0));
  Request request;
  request.prompt_tokens = engine->tokenizer()->encode(kText);
  run(*engine, {request});
  EXPECT_EQ(engine->stats().num_draft_tokens, 0);
  EXPECT_EQ(engine->stats().draft_ns, 0);
}

/// Tokens of many requests without a seed, by output position.
std::vector<std::map<std::int32_t, int>> sampled_tokens(Engine& engine, int num_requests,
                                                        int num_tokens) {
  std::vector<std::map<std::int32_t, int>> counts(static_cast<std::size_t>(num_tokens));
  Request request;
  request.prompt_tokens = engine.tokenizer()->encode("The old man and the");
  request.sampling.max_tokens = num_tokens;
  request.sampling.ignore_eos = true;
  request.sampling.temperature = 0.8;
  request.sampling.top_k = 40;
  request.sampling.repetition_penalty = 1.1;
  for (const Outcome& outcome :
       run(engine, std::vector<Request>(static_cast<std::size_t>(num_requests), request))) {
    for (std::size_t i = 0; i < outcome.tokens.size(); ++i) ++counts[i][outcome.tokens[i]];
  }
  return counts;
}

/// Of two samples of equal size; tokens seen seldom are taken together.
double two_sample_chi_square(const std::map<std::int32_t, int>& a,
                             const std::map<std::int32_t, int>& b, int& freedom) {
  std::map<std::int32_t, std::pair<int, int>> both;
  for (const auto& [token, count] : a) both[token].first = count;
  for (const auto& [token, count] : b) both[token].second = count;
  std::pair<int, int> rest;
  double sum = 0;
  freedom = 0;
  for (const auto& [token, counts] : both) {
    const auto [x, y] = counts;
    if (x + y < 20) {
      rest.first += x;
      rest.second += y;
      continue;
    }
    sum += double(x - y) * (x - y) / (x + y);
    ++freedom;
  }
  if (rest.first + rest.second > 0) {
    sum +=
        double(rest.first - rest.second) * (rest.first - rest.second) / (rest.first + rest.second);
  }
  return sum;
}

/// Of `demo`, drafted for by `demo-draft`: whole runs, not single draws.
TEST(Speculation, sampling_without_a_seed_keeps_its_distribution) {
#ifdef IOL_SANITIZED
  constexpr int kRequests = 450;
#else
  constexpr int kRequests = 1200;
#endif
  constexpr int kTokens = 3;
  EngineConfig config = small_config();
  config.model = std::string(IOL_SOURCE_DIR) + "/models/books-16m";
  config.max_batch = 64;
  config.seed = 1;
  const auto plain = sampled_tokens(*Engine::create(config), kRequests, kTokens);
  config.seed = 2;
  config.speculation.model = std::string(IOL_SOURCE_DIR) + "/models/books-2m";
  config.speculation.depth = 2;
  const auto engine = Engine::create(config);
  const auto speculative = sampled_tokens(*engine, kRequests, kTokens);
  const EngineStats stats = engine->stats();
  const auto num_rejected = stats.num_draft_tokens - stats.num_accepted_draft_tokens;
  EXPECT_GT(stats.num_accepted_draft_tokens, kRequests / 4);
  EXPECT_GT(num_rejected, kRequests / 4);
  for (std::size_t i = 0; i < kTokens; ++i) {
    int freedom = 0;
    const double value = two_sample_chi_square(plain[i], speculative[i], freedom);
    EXPECT_GE(freedom, 4);
    EXPECT_LT(value, chi_square_bound(freedom)) << "output position " << i;
    int other_freedom = 0;  // it would see another distribution
    const double other =
        two_sample_chi_square(plain[i], speculative[(i + 1) % kTokens], other_freedom);
    EXPECT_GT(other, chi_square_bound(other_freedom));
  }
}

TEST(Speculation, a_broken_draft_model_is_given_up_and_said_so) {
  const DraftFolder folder;
  const auto weights = std::filesystem::path(folder.path()) / "model.safetensors";
  const auto source = std::filesystem::canonical(weights);
  std::filesystem::remove(weights);
  std::filesystem::copy_file(source, weights);
  const auto size = static_cast<std::streamoff>(std::filesystem::file_size(weights));
  std::fstream file(weights, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(size / 2);
  const std::string nan(static_cast<std::size_t>(size - size / 2), '\xff');
  file.write(nan.data(), static_cast<std::streamsize>(nan.size()));
  file.close();
  const auto plain = Engine::create(small_config());
  const auto requests = all_kinds_of_requests(*plain);
  const auto expected = run(*plain, requests);
  const auto engine = Engine::create(with_draft(folder.path(), 3));
  const auto outcomes = run(*engine, requests);
  for (std::size_t i = 0; i < requests.size(); ++i) {
    EXPECT_EQ(outcomes[i].tokens, expected[i].tokens);
  }
  EXPECT_THAT(engine->stats().draft_error, HasSubstr("NaN"));
  EXPECT_EQ(engine->stats().num_draft_tokens, 0);
  // Where the backend chooses guesses it sees that too.
  const auto another = Engine::create(with_draft(folder.path(), 3));
  Request greedy;
  greedy.prompt_tokens = requests[0].prompt_tokens;
  greedy.sampling.max_tokens = 20;
  run(*another, {greedy});
  EXPECT_THAT(another->stats().draft_error, HasSubstr("NaN"));
  EXPECT_EQ(another->stats().num_draft_tokens, 0);
}

TEST(Speculation, simulated_acceptance_is_what_was_asked_for) {
  for (const double rate : {0.0, 0.8, 1.0}) {
    EngineConfig config = with_draft(draft().path(), 1);
    config.speculation.simulated_acceptance = rate;
    const auto engine = Engine::create(config);
    Request request;
    request.prompt_tokens = engine->tokenizer()->encode(kText);
    request.sampling.max_tokens = 400;
    request.sampling.ignore_eos = true;
    ASSERT_EQ(run(*engine, {request})[0].tokens.size(), 400U);
    const EngineStats stats = engine->stats();
    EXPECT_NEAR(static_cast<double>(stats.num_accepted_draft_tokens) /
                    static_cast<double>(stats.num_draft_tokens),
                rate, 0.1);
  }
}

TEST(Speculation, records_say_what_each_step_drafted) {
  const auto engine = Engine::create(with_draft("ngram", 3));
  Request request;
  request.prompt_tokens = engine->tokenizer()->encode(kText);
  request.sampling.max_tokens = 40;
  std::int64_t num_drafts = 0;
  std::int64_t num_accepted = 0;
  engine->on_step([&](const StepRecord& step) {
    num_drafts += step.num_draft_tokens;
    num_accepted += step.num_accepted_draft_tokens;
    EXPECT_LE(step.num_draft_tokens, 3);
    EXPECT_GE(step.duration_ns, step.draft_ns + step.host_ns);
  });
  run(*engine, {request});
  const EngineStats stats = engine->stats();
  EXPECT_EQ(num_drafts, stats.num_draft_tokens);
  EXPECT_EQ(num_accepted, stats.num_accepted_draft_tokens);
  EXPECT_GT(num_drafts, 0);
}

TEST(Speculation, memory_of_the_draft_model_is_counted) {
  EXPECT_EQ(Engine::create(with_draft("ngram", 3))->memory().draft_model_bytes, 0);
  const auto engine = Engine::create(with_draft(draft().path(), 3));
  // As large as the model that it drafts for: the same shape.
  EXPECT_GE(engine->memory().draft_model_bytes,
            engine->memory().weights_bytes + engine->memory().kv_cache_bytes);
}

TEST(Speculation, requests_with_and_without_it_share_a_batch) {
  const auto engine = Engine::create(with_draft(perfect_draft().path(), 4));
  Request request;
  request.prompt_tokens = engine->tokenizer()->encode(kText);
  request.sampling.max_tokens = 60;
  request.sampling.ignore_eos = true;
  std::vector<int> num_drafted(2);
  for (std::size_t i = 0; i < 2; ++i) {
    request.speculates = i == 0;
    engine->submit(request, [&num_drafted, i](const TokenEvent& event) {
      num_drafted[i] += event.was_drafted ? 1 : 0;
    });
  }
  engine->drain();
  EXPECT_GT(num_drafted[0], 40);
  EXPECT_EQ(num_drafted[1], 0);
}

TEST(Speculation, a_quantized_draft_changes_no_token) {
  const auto plain = Engine::create(small_config());
  const auto requests = all_kinds_of_requests(*plain);
  const auto expected = run(*plain, requests);
  EngineConfig config = with_draft(draft().path(), 3);
  const std::int64_t whole_bytes = Engine::create(config)->memory().draft_model_bytes;
  std::map<std::string, std::int64_t> bytes;
  for (const char* format : {"auto", "int8", "fp8"}) {
    config.speculation.quant = parse_draft_format(format);
    const auto engine = Engine::create(config);
    const auto outcomes = run(*engine, requests);
    for (std::size_t i = 0; i < requests.size(); ++i)
      EXPECT_TRUE(identical(outcomes[i], expected[i], expected[i].tokens.size())) << i;
    EXPECT_GT(engine->stats().num_accepted_draft_tokens, 0);
    bytes[format] = engine->memory().draft_model_bytes;
    EXPECT_LT(bytes[format], whole_bytes);
  }
  EXPECT_EQ(bytes["auto"], bytes["int8"]);
}

}  // namespace
}  // namespace iol::test
