// The engine on a device that runs ahead: the same tokens as on one that doesn't, although stops
// are seen a step late, and nothing is left behind. The same with drafts, for which steps wait.
#include <gtest/gtest.h>

#include "base/random.h"
#include "engine/draft_model.h"
#include "engine/engine_loop.h"
#include "tests/engine/ahead_backend.h"
#include "tests/engine/collector.h"
#include "tests/engine/draft_folder.h"

namespace iol::test {
namespace {

constexpr int kVocabSize = 8192;
constexpr int kNumRequests = 24;
#ifdef IOL_SANITIZED
constexpr int kNumDraftedTrials = 2;  // ten times as slow there
#else
constexpr int kNumDraftedTrials = 8;
#endif

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

/// Lookup, a model or both, at any depth.
SpeculationConfig speculation_of(std::uint64_t trial) {
  static const DraftFolder folder;
  RandomStream random(trial, 5);
  SpeculationConfig speculation;
  const auto who = random.below(3);
  speculation.ngram = who != 1;
  if (who != 0) speculation.model = folder.path();
  if (random.below(3) != 0) speculation.depth = 1 + static_cast<int>(random.below(16));
  return speculation;
}

enum class Kind { kWaits, kRunsAhead, kRunsAheadAndSamples };

struct EngineRun {
  std::vector<Outcome> outcomes;
  EngineStats stats;
  std::int64_t num_placeholders = 0;
};

EngineRun run(std::uint64_t trial, Kind kind, const SpeculationConfig& speculation = {},
              std::int64_t swap_space_bytes = 0) {
  EngineConfig config = config_of(trial);
  if (swap_space_bytes > 0) config.preemption = PreemptionMode::kSwap;
  config.swap_space_bytes = swap_space_bytes;
  config.speculation = speculation;
  LoadedModel model = load_model(config);
  config.kv_dtype = model.kv_dtype;
  AheadBackend* backend = nullptr;
  if (kind != Kind::kWaits) {
    auto wrapped = std::make_unique<AheadBackend>(std::move(model.backend),
                                                  kind == Kind::kRunsAheadAndSamples);
    backend = wrapped.get();
    model.backend = std::move(wrapped);
  }
  std::optional<DraftModel> draft;
  if (!speculation.model.empty()) draft = load_draft_model(config, model);
  Collector collector;
  EngineLoop engine(config, std::move(model), std::move(draft));
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

void expect_same(const EngineRun& got, const EngineRun& want) {
  for (std::size_t i = 0; i < kNumRequests; ++i) {
    SCOPED_TRACE(::testing::Message() << "request " << i);
    ASSERT_EQ(got.outcomes[i].tokens, want.outcomes[i].tokens);
    ASSERT_EQ(got.outcomes[i].text, want.outcomes[i].text);
    ASSERT_EQ(got.outcomes[i].finish_reason, want.outcomes[i].finish_reason);
    ASSERT_EQ(got.outcomes[i].num_ends, 1);
  }
  EXPECT_EQ(got.stats.generated_tokens, want.stats.generated_tokens);
  EXPECT_EQ(got.stats.draft_error, "");
  EXPECT_EQ(got.stats.num_blocks_used, 0);
  EXPECT_EQ(got.stats.num_swap_slots_used, 0);
  EXPECT_EQ(got.stats.num_running, 0);
}

TEST(RunAhead, tokens_and_ends_are_those_of_a_device_that_does_not_run_ahead) {
  std::int64_t num_placeholders = 0;
  std::int64_t num_preemptions = 0;
  int num_stops = 0;
  for (std::uint64_t trial = 0; trial < 12; ++trial) {
    SCOPED_TRACE(::testing::Message() << "trial " << trial);
    const EngineRun want = run(trial, Kind::kWaits);
    const EngineRun got = run(trial, Kind::kRunsAhead);
    ASSERT_NO_FATAL_FAILURE(expect_same(got, want));
    for (const Outcome& outcome : want.outcomes)
      num_stops += outcome.finish_reason == FinishReason::kStop ? 1 : 0;
    num_placeholders += got.num_placeholders;
    num_preemptions += got.stats.num_preemptions;
  }
  EXPECT_GT(num_placeholders, 1000) << "the engine hardly ran ahead";
  EXPECT_GT(num_preemptions, 0);
  EXPECT_GT(num_stops, 20) << "hardly a request ended unexpectedly";
}

TEST(RunAhead, drafts_change_no_token) {
  std::int64_t num_placeholders = 0;
  std::int64_t num_preemptions = 0;
  std::int64_t num_drafts = 0;
  std::int64_t num_accepted = 0;
  for (std::uint64_t trial = 0; trial < std::uint64_t{kNumDraftedTrials}; ++trial) {
    SCOPED_TRACE(::testing::Message() << "trial " << trial);
    const EngineRun want = run(trial, Kind::kWaits);
    for (const Kind kind : {Kind::kRunsAhead, Kind::kRunsAheadAndSamples}) {
      const EngineRun got = run(trial, kind, speculation_of(trial));
      ASSERT_NO_FATAL_FAILURE(expect_same(got, want));
      num_placeholders += got.num_placeholders;
      num_preemptions += got.stats.num_preemptions;
      num_drafts += got.stats.num_draft_tokens;
      num_accepted += got.stats.num_accepted_draft_tokens;
    }
  }
  EXPECT_GT(num_placeholders, 1000) << "steps and draft passes hardly ran ahead";
  EXPECT_GT(num_preemptions, 0);
  EXPECT_GT(num_accepted, 10 * kNumDraftedTrials);
  EXPECT_GT(num_drafts - num_accepted, 10 * kNumDraftedTrials);
}

/// With room for everything, and with so little that some are recomputed.
TEST(RunAhead, tokens_and_ends_are_the_same_where_sequences_are_swapped) {
  std::int64_t num_preemptions = 0;
  std::int64_t num_out = 0;
  std::int64_t num_in = 0;
  for (std::uint64_t trial = 0; trial < std::uint64_t{kNumDraftedTrials}; ++trial) {
    SCOPED_TRACE(::testing::Message() << "trial " << trial);
    const EngineRun want = run(trial, Kind::kWaits);
    for (const std::int64_t swap_space_bytes : {std::int64_t{32} << 20, std::int64_t{1} << 18}) {
      const EngineRun plain = run(trial, Kind::kRunsAhead, {}, swap_space_bytes);
      ASSERT_NO_FATAL_FAILURE(expect_same(plain, want));
      const EngineRun drafted =
          run(trial, Kind::kRunsAheadAndSamples, speculation_of(trial), swap_space_bytes);
      ASSERT_NO_FATAL_FAILURE(expect_same(drafted, want));
      for (const EngineRun* got : {&plain, &drafted}) {
        num_preemptions += got->stats.num_preemptions;
        num_out += got->stats.num_swapped_out_blocks;
        num_in += got->stats.num_swapped_in_blocks;
      }
    }
  }
  EXPECT_GT(num_preemptions, 0);
  EXPECT_GT(num_in, 0);
  EXPECT_GE(num_out, num_in);
}

void expect_cancelled_requests_to_end_once(const SpeculationConfig& speculation) {
  EngineConfig config = config_of(0);
  config.speculation = speculation;
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
  EXPECT_EQ(engine.stats().num_draft_tokens > 0, speculation.enabled());
}

TEST(RunAhead, a_request_cancelled_in_the_middle_of_a_step_ends_once) {
  expect_cancelled_requests_to_end_once({});
  SpeculationConfig lookup = parse_draft("ngram");
  lookup.depth = 2;
  expect_cancelled_requests_to_end_once(lookup);
}

}  // namespace
}  // namespace iol::test
