// The engine on a device that runs ahead: the same tokens as on one that doesn't, although stops
// are seen a step late, and nothing is left behind.
#include <gtest/gtest.h>

#include "base/random.h"
#include "engine/engine_loop.h"
#include "tests/engine/ahead_backend.h"
#include "tests/engine/collector.h"

namespace iol::test {
namespace {

constexpr int kVocabSize = 8192;
constexpr int kNumRequests = 24;

EngineConfig config_of(std::uint64_t trial) {
  RandomStream random(trial, 3);
  EngineConfig config;
  config.model = std::string(IOL_SOURCE_DIR) + "/models/books-2m";
  config.max_context = 128;
  config.max_batch = 1 + static_cast<int>(random.below(9));
  config.max_step_tokens = config.max_batch + static_cast<int>(random.below(90));
  config.num_threads = 2;
  config.prefix_cache = random.below(2) == 0;
  if (random.below(4) == 0) config.scheduler = SchedulerPolicy::kStatic;
  if (random.below(4) == 0) config.kv_allocation = KvAllocation::kContiguous;
  config.kv_cache_tokens =
      random.below(2) == 0 ? 128 : 128 + static_cast<std::int64_t>(random.below(512));
  config.device.kind = DeviceKind::kCpu;
  config.dtype = DType::kF32;
  return config;
}

/// Greedy mostly; some with what the device can't choose by itself, and every way to end.
Request request_of(std::uint64_t trial, int number) {
  RandomStream random(trial * 100 + static_cast<std::uint64_t>(number), 4);
  RandomStream prefix(7);
  Request request;
  if (number % 2 == 0) {
    for (int i = 0; i < 40; ++i)
      request.prompt_tokens.push_back(static_cast<std::int32_t>(prefix.below(kVocabSize)));
  }
  const auto own_tokens = 1 + random.below(60);
  for (std::uint64_t i = 0; i < own_tokens; ++i)
    request.prompt_tokens.push_back(static_cast<std::int32_t>(random.below(kVocabSize)));
  auto& sampling = request.sampling;
  sampling.max_tokens = 1 + static_cast<int>(random.below(40));
  sampling.seed = random();
  switch (random.below(5)) {
    case 0:
      sampling.stop = {"e", "th"};
      break;
    case 1:
      for (int i = 0; i < 800; ++i)
        sampling.stop_token_ids.push_back(static_cast<std::int32_t>(random.below(kVocabSize)));
      sampling.min_tokens = std::min(static_cast<int>(random.below(3)), sampling.max_tokens);
      break;
    case 2:
      if (random.below(2) == 0) sampling.temperature = 0.8;
      break;
    default:
      break;
  }
  return request;
}

struct EngineRun {
  std::vector<Outcome> outcomes;
  EngineStats stats;
  std::int64_t num_placeholders = 0;
};

EngineRun run(std::uint64_t trial, bool ahead) {
  EngineConfig config = config_of(trial);
  LoadedModel model = load_model(config);
  config.kv_dtype = model.kv_dtype;
  AheadBackend* backend = nullptr;
  if (ahead) {
    auto wrapped = std::make_unique<AheadBackend>(std::move(model.backend));
    backend = wrapped.get();
    model.backend = std::move(wrapped);
  }
  Collector collector;
  EngineLoop engine(config, std::move(model));
  for (int i = 0; i < kNumRequests; ++i) {
    Request request = request_of(trial, i);
    const int length = static_cast<int>(request.prompt_tokens.size());
    request.sampling.max_tokens =
        std::min(request.sampling.max_tokens, config.max_context - length);
    engine.submit(std::move(request), collector.listen(i));
  }
  engine.drain();
  EngineRun result;
  for (int i = 0; i < kNumRequests; ++i) result.outcomes.push_back(collector.outcome(i));
  result.stats = engine.stats();
  if (backend != nullptr) result.num_placeholders = backend->num_placeholders;
  return result;
}

TEST(RunAhead, tokens_and_ends_are_those_of_a_device_that_does_not_run_ahead) {
  std::int64_t num_placeholders = 0;
  std::int64_t num_preemptions = 0;
  int num_stops = 0;
  for (std::uint64_t trial = 0; trial < 12; ++trial) {
    const EngineRun want = run(trial, false);
    const EngineRun got = run(trial, true);
    for (int i = 0; i < kNumRequests; ++i) {
      const auto& expected = want.outcomes[static_cast<std::size_t>(i)];
      const auto& actual = got.outcomes[static_cast<std::size_t>(i)];
      ASSERT_EQ(actual.tokens, expected.tokens) << "trial " << trial << ", request " << i;
      ASSERT_EQ(actual.text, expected.text);
      ASSERT_EQ(actual.finish_reason, expected.finish_reason);
      ASSERT_EQ(actual.num_ends, 1);
      num_stops += expected.finish_reason == FinishReason::kStop ? 1 : 0;
    }
    EXPECT_EQ(got.stats.generated_tokens, want.stats.generated_tokens);
    EXPECT_EQ(got.stats.num_blocks_used, 0);
    EXPECT_EQ(got.stats.num_running, 0);
    num_placeholders += got.num_placeholders;
    num_preemptions += got.stats.num_preemptions;
  }
  EXPECT_GT(num_placeholders, 1000) << "the engine hardly ran ahead";
  EXPECT_GT(num_preemptions, 0);
  EXPECT_GT(num_stops, 20) << "hardly a request ended unexpectedly";
}

TEST(RunAhead, a_request_cancelled_in_the_middle_of_a_step_ends_once) {
  EngineConfig config = config_of(0);
  config.max_batch = 4;
  config.max_step_tokens = 64;
  config.kv_cache_tokens = 1024;
  config.scheduler = SchedulerPolicy::kInFlight;
  config.kv_allocation = KvAllocation::kPaged;
  LoadedModel model = load_model(config);
  config.kv_dtype = model.kv_dtype;
  model.backend = std::make_unique<AheadBackend>(std::move(model.backend));
  Collector collector;
  EngineLoop engine(config, std::move(model));
  for (int i = 0; i < 12; ++i) {
    Request request = request_of(1, i);
    request.sampling = {};
    request.sampling.max_tokens = 20;
    request.sampling.ignore_eos = true;
    const auto listen = collector.listen(i);
    engine.submit(std::move(request), [&engine, listen, i](const TokenEvent& event) {
      listen(event);
      if (i % 3 == 0 && event.token) engine.cancel(event.request);
    });
  }
  engine.drain();
  for (int i = 0; i < 12; ++i) {
    const Outcome outcome = collector.outcome(i);
    EXPECT_EQ(outcome.num_ends, 1);
    EXPECT_EQ(outcome.finish_reason, i % 3 == 0 ? FinishReason::kCancelled : FinishReason::kLength);
    EXPECT_EQ(outcome.tokens.size(), i % 3 == 0 ? 1U : 20U);
  }
  EXPECT_EQ(engine.stats().num_blocks_used, 0);
}

}  // namespace
}  // namespace iol::test
