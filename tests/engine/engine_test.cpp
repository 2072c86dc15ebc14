#include "engine/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>

#include "base/error.h"
#include "tests/engine/collector.h"
#include "tokenizer/tokenizer.h"

namespace iol::test {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

EngineConfig small_config() {
  EngineConfig config;
  config.model = std::string(IOL_SOURCE_DIR) + "/models/books-2m";
  config.max_batch = 4;
  config.kv_cache_tokens = 8192;
  return config;
}

Request text_request(const Engine& engine, std::string_view text, int max_tokens) {
  Request request;
  request.prompt_tokens = engine.tokenizer()->encode(text);
  request.sampling.max_tokens = max_tokens;
  return request;
}

Outcome run(Engine& engine, Request request) {
  Collector collector;
  engine.submit(std::move(request), collector.listen(0));
  engine.drain();
  return collector.outcome(0);
}

TEST(Engine, streams_text_that_equals_the_decoded_tokens) {
  const auto engine = Engine::create(small_config());
  const auto outcome = run(*engine, text_request(*engine, "It was the best of times", 60));
  EXPECT_EQ(outcome.text, engine->tokenizer()->decode(outcome.tokens));
  EXPECT_EQ(outcome.tokens.size(), 60U);
  EXPECT_EQ(outcome.finish_reason, FinishReason::kLength);
  EXPECT_EQ(outcome.num_ends, 1);
}

TEST(Engine, cuts_the_text_before_a_stop_string) {
  const auto engine = Engine::create(small_config());
  const auto whole = run(*engine, text_request(*engine, "The old man", 40));
  ASSERT_GT(whole.text.size(), 30U);
  const std::string stop = whole.text.substr(17, 6);
  Request request = text_request(*engine, "The old man", 40);
  request.sampling.stop = {"never in the text", stop};
  const auto cut = run(*engine, request);
  EXPECT_EQ(cut.text, whole.text.substr(0, whole.text.find(stop)));
  EXPECT_EQ(cut.finish_reason, FinishReason::kStop);
  EXPECT_LT(cut.tokens.size(), whole.tokens.size());
}

TEST(Engine, ends_at_a_stop_token_which_adds_no_text) {
  const auto engine = Engine::create(small_config());
  const auto whole = run(*engine, text_request(*engine, "The old man", 20));
  Request request = text_request(*engine, "The old man", 20);
  request.sampling.stop_token_ids = {whole.tokens[7]};
  const auto first =
      std::find(whole.tokens.begin(), whole.tokens.end(), whole.tokens[7]) - whole.tokens.begin();
  const auto stopped = run(*engine, request);
  EXPECT_EQ(stopped.finish_reason, FinishReason::kStop);
  EXPECT_EQ(stopped.tokens.size(), static_cast<std::size_t>(first) + 1);
  EXPECT_EQ(stopped.text,
            engine->tokenizer()->decode({whole.tokens.data(), static_cast<std::size_t>(first)}));
}

TEST(Engine, ends_at_the_context) {
  EngineConfig config = small_config();
  config.max_context = 64;
  const auto engine = Engine::create(config);
  Request request = text_request(*engine, "The old man", 1000);
  request.sampling.ignore_eos = true;
  const int num_prompt_tokens = static_cast<int>(request.prompt_tokens.size());
  const auto outcome = run(*engine, request);
  EXPECT_EQ(outcome.finish_reason, FinishReason::kLength);
  EXPECT_EQ(num_prompt_tokens + static_cast<int>(outcome.tokens.size()), 64);
}

TEST(Engine, reports_log_probabilities_of_the_sampled_and_the_most_likely) {
  const auto engine = Engine::create(small_config());
  Request request = text_request(*engine, "She", 10);
  request.sampling.num_logprobs = 3;
  const auto outcome = run(*engine, request);
  ASSERT_EQ(outcome.logprobs.size(), outcome.tokens.size());
  for (std::size_t i = 0; i < outcome.tokens.size(); ++i) {
    const auto& logprobs = outcome.logprobs[i];
    ASSERT_EQ(logprobs.top.size(), 3U);
    EXPECT_EQ(logprobs.sampled.token, outcome.tokens[i]);
    EXPECT_EQ(logprobs.top[0].token, outcome.tokens[i]);  // greedy
    EXPECT_LE(logprobs.sampled.logprob, 0.0F);
    EXPECT_GE(logprobs.top[0].logprob, logprobs.top[1].logprob);
  }
}

TEST(Engine, cancels_a_running_request_and_goes_on_with_the_others) {
  const auto engine = Engine::create(small_config());
  Collector collector;
  std::promise<void> started;
  std::atomic<bool> has_started = false;
  Request endless = text_request(*engine, "Once", 2000);
  endless.sampling.ignore_eos = true;
  const auto listen = collector.listen(0);
  const auto id = engine->submit(endless, [&](const TokenEvent& event) {
    listen(event);
    if (!has_started.exchange(true)) started.set_value();
  });
  engine->submit(text_request(*engine, "Twice", 30), collector.listen(1));
  started.get_future().wait();
  engine->cancel(id);
  engine->cancel(id);      // again: nothing happens
  engine->cancel(999999);  // never existed: nothing happens
  engine->drain();
  EXPECT_EQ(collector.outcome(0).finish_reason, FinishReason::kCancelled);
  EXPECT_EQ(collector.outcome(0).num_ends, 1);
  EXPECT_EQ(collector.outcome(1).finish_reason, FinishReason::kLength);
  EXPECT_EQ(engine->stats().num_blocks_used, 0);
}

TEST(Engine, accepts_new_requests_from_a_callback) {
  const auto engine = Engine::create(small_config());
  Collector collector;
  std::promise<void> done;
  engine->submit(text_request(*engine, "One", 5), [&](const TokenEvent& event) {
    if (!event.finish_reason) return;
    engine->submit(text_request(*engine, "Two", 5), [&](const TokenEvent& second) {
      collector.listen(1)(second);
      if (second.finish_reason) done.set_value();
    });
  });
  done.get_future().wait();
  EXPECT_EQ(collector.outcome(1).tokens.size(), 5U);
}

TEST(Engine, cancels_what_is_left_when_destroyed) {
  Collector collector;
  {
    const auto engine = Engine::create(small_config());
    Request request = text_request(*engine, "Once", 2000);
    request.sampling.ignore_eos = true;
    engine->submit(request, collector.listen(0));
  }
  EXPECT_EQ(collector.outcome(0).finish_reason, FinishReason::kCancelled);
}

TEST(Engine, finds_shared_prefixes_until_they_are_forgotten) {
  const auto engine = Engine::create(small_config());
  const std::string prompt =
      "It is a truth universally acknowledged, that a single man in possession of a good "
      "fortune, must be in want of a wife. However little known the feelings";
  run(*engine, text_request(*engine, prompt, 4));
  EXPECT_EQ(engine->stats().cached_tokens, 0);
  run(*engine, text_request(*engine, prompt, 4));
  const auto found = engine->stats().cached_tokens;
  EXPECT_GE(found, 16);
  engine->clear_prefix_cache();
  run(*engine, text_request(*engine, prompt, 4));
  EXPECT_EQ(engine->stats().cached_tokens, found);
}

TEST(Engine, requests_without_a_seed_differ_and_with_one_repeat) {
  const auto engine = Engine::create(small_config());
  Request request = text_request(*engine, "Suddenly", 20);
  request.sampling.temperature = 1.0;
  const auto first = run(*engine, request);
  const auto second = run(*engine, request);
  EXPECT_NE(first.tokens, second.tokens);
  request.sampling.seed = 42;
  EXPECT_EQ(run(*engine, request).tokens, run(*engine, request).tokens);
}

TEST(Engine, observes_every_step) {
  const auto engine = Engine::create(small_config());
  std::atomic<int> num_steps = 0;
  std::atomic<int> num_prefill_tokens = 0;
  engine->on_step([&](const StepRecord& step) {
    ++num_steps;
    num_prefill_tokens += step.num_prefill_tokens;
    EXPECT_GE(step.duration_ns, step.host_ns);
  });
  const Request request = text_request(*engine, "The ship", 8);
  run(*engine, request);
  EXPECT_EQ(num_steps, 8);
  EXPECT_EQ(num_prefill_tokens, static_cast<int>(request.prompt_tokens.size()));
}

TEST(Engine, refuses_requests_that_can_never_run) {
  EngineConfig config = small_config();
  config.max_context = 128;
  config.kv_cache_tokens = 64;
  const auto engine = Engine::create(config);
  const auto submit = [&](std::vector<std::int32_t> tokens, int max_tokens = 4) {
    Request request;
    request.prompt_tokens = std::move(tokens);
    request.sampling.max_tokens = max_tokens;
    engine->submit(request, {});
  };
  EXPECT_THAT([&] { submit({}); }, ThrowsMessage<InputError>(HasSubstr("the prompt is empty")));
  EXPECT_THAT(
      [&] {
        submit({5, 8192});
      },
      ThrowsMessage<InputError>(HasSubstr("8192 is outside the vocabulary")));
  EXPECT_THAT([&] { submit({-1}); },
              ThrowsMessage<InputError>(HasSubstr("outside the vocabulary")));
  EXPECT_THAT([&] { submit(std::vector<std::int32_t>(129, 5)); },
              ThrowsMessage<InputError>(HasSubstr("129 tokens, the context 128")));
  EXPECT_THAT(
      [&] {
        submit({5, 6}, 100);
      },
      ThrowsMessage<InputError>(HasSubstr("raise --kv-cache-tokens")));
  EXPECT_THAT([&] { submit({5}, 0); }, ThrowsMessage<InputError>(HasSubstr("max_tokens")));
}

TEST(Engine, refuses_impossible_configurations) {
  const auto create = [](auto change) {
    return [change] {
      EngineConfig config = small_config();
      change(config);
      Engine::create(config);
    };
  };
  EXPECT_THAT(create([](EngineConfig& c) { c.max_batch = 0; }),
              ThrowsMessage<InputError>(HasSubstr("max_batch is 0")));
  EXPECT_THAT(create([](EngineConfig& c) { c.max_step_tokens = -1; }),
              ThrowsMessage<InputError>(HasSubstr("max_step_tokens is -1")));
  EXPECT_THAT(create([](EngineConfig& c) { c.block_size = 24; }),
              ThrowsMessage<InputError>(HasSubstr("multiple of 16")));
  EXPECT_THAT(create([](EngineConfig& c) { c.max_context = 4096; }),
              ThrowsMessage<InputError>(HasSubstr("was made for 2048")));
  EXPECT_THAT(create([](EngineConfig& c) { c.kv_cache_tokens = std::int64_t{1} << 40; }),
              ThrowsMessage<ResourceError>(HasSubstr("'iol plan' shows what fits")));
  EXPECT_THAT(create([](EngineConfig& c) {
                c.device.kind = DeviceKind::kCpu;
                c.preemption = PreemptionMode::kSwap;
              }),
              ThrowsMessage<InputError>(HasSubstr("in the host's memory already")));
  EXPECT_THAT(create([](EngineConfig& c) { c.model = "/nowhere/at/all"; }),
              testing::Throws<InputError>());
  EXPECT_THAT(create([](EngineConfig& c) { c.dtype = DType::kI8; }), testing::Throws<InputError>());
}

}  // namespace
}  // namespace iol::test
