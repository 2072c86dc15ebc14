// Speculation on a device that runs ahead: drafts wait for the host as seldom as can be, and
// without any nothing does.
#include <gtest/gtest.h>

#include <unordered_map>

#include "engine/device_backend.h"
#include "engine/engine_loop.h"
#include "tests/engine/ahead_backend.h"
#include "tests/engine/speculation_setup.h"
#include "tokenizer/tokenizer.h"

namespace iol::test {
namespace {

/// An engine on a device that runs ahead and draws tokens.
template <class AnyAheadBackend>
std::unique_ptr<Engine> ahead_engine(EngineConfig config, AnyAheadBackend*& backend) {
  config.device.kind = DeviceKind::kCpu;
  config.max_step_tokens = default_step_tokens(config.device);
  LoadedModel model = load_model(config);
  config.kv_dtype = model.kv_dtype;
  auto wrapped = std::make_unique<AnyAheadBackend>(std::move(model.backend), true);
  backend = wrapped.get();
  model.backend = std::move(wrapped);
  std::optional<DraftModel> draft_model;
  if (!config.speculation.model.empty()) draft_model = load_draft_model(config, model);
  return std::make_unique<EngineLoop>(config, std::move(model), std::move(draft_model));
}

Request request_of_101_tokens(const Engine& engine) {
  Request request;
  request.prompt_tokens = engine.tokenizer()->encode(kText);
  request.sampling.max_tokens = 101;
  request.sampling.ignore_eos = true;
  return request;
}

/// On a device that draws tokens, drafts that were drawn are judged on the host all the same: the
/// device's own number would confirm a part of them only.
TEST(Speculation, a_device_that_draws_leaves_drawn_drafts_to_the_host) {
  AheadBackend* backend = nullptr;
  const auto engine = ahead_engine(with_draft(perfect_draft().path(), 4), backend);
  Request request = request_of_101_tokens(*engine);
  request.sampling.temperature = 1.0;
  run(*engine, {request, request, request});
  const EngineStats stats = engine->stats();
  EXPECT_EQ(stats.draft_error, "");
  EXPECT_EQ(stats.num_draft_tokens, 3 * 80);
  EXPECT_EQ(stats.num_accepted_draft_tokens, 3 * 80);
}

/// A step that drafts waits for the one before and its own drafts don't: k passes of a draft model
/// leave k - 1 placeholders.
TEST(Speculation, no_draft_token_waits_for_the_host) {
  AheadBackend* backend = nullptr;
  const auto engine = ahead_engine(with_draft(perfect_draft().path(), 4), backend);
  const Request request = request_of_101_tokens(*engine);
  run(*engine, {request});
  EXPECT_EQ(engine->stats().num_steps, 1 + 20);
  EXPECT_EQ(engine->stats().num_accepted_draft_tokens, 80);
  EXPECT_EQ(backend->num_placeholders, 20 * 3);
}

TEST(Speculation, without_drafts_the_engine_runs_ahead) {
  EngineConfig config = with_draft("ngram", std::nullopt);
  AheadBackend* backend = nullptr;
  const auto engine = ahead_engine(config, backend);
  Request request;
  for (std::int32_t token = 300; token < 400; ++token) request.prompt_tokens.push_back(token);
  request.sampling.max_tokens = 200;
  request.sampling.ignore_eos = true;
  request.sampling.temperature = 5.0;  // no three tokens in a row occur twice
  request.sampling.seed = 1;
  run(*engine, {request});
  EXPECT_EQ(engine->stats().num_draft_tokens, 0);
  EXPECT_EQ(backend->num_placeholders, 199);
}

/// Once nothing was drafted for long, the policy is asked now and then only: when it says yes, the
/// engine finishes the step under way, and must draft then.
TEST(Speculation, drafts_after_a_long_time_without_on_a_device_that_runs_ahead) {
  EngineConfig config = with_draft(draft().path(), std::nullopt);
  config.model = std::string(IOL_SOURCE_DIR) + "/models/books-16m";
  config.speculation.simulated_acceptance = 1.0;
  AheadBackend* backend = nullptr;
  const auto engine = ahead_engine(config, backend);
  Request request = request_of_101_tokens(*engine);
  request.speculates = false;
  run(*engine, {request});
  EXPECT_EQ(engine->stats().num_draft_tokens, 0);
  request.speculates = true;
  // A busy machine may take several requests to see that drafts pay.
  for (int round = 0; round < 20 && engine->stats().num_draft_tokens == 0; ++round)
    run(*engine, {request});
  EXPECT_GT(engine->stats().num_draft_tokens, 0);
}

/// Says a b c 0 a b c 1 a b c 2 ...: lookup always has a guess of the number, and is always wrong.
class CountingBackend final : public AheadBackend {
 public:
  using AheadBackend::AheadBackend;
  static std::int32_t token_at(std::int32_t position) {
    return position % 4 < 3 ? 100 + position % 4 : 1000 + position / 4;
  }

 protected:
  std::int32_t choose(Activations&, const StepInput& input, int row) override {
    const auto token = static_cast<std::size_t>(input.logit_tokens[static_cast<std::size_t>(row)]);
    return token_at(input.positions[token] + 1);
  }
};

/// Each guess stops the engine from running ahead, and none becomes a draft that is judged.
TEST(Speculation, guesses_that_are_always_wrong_stop_being_waited_for) {
  CountingBackend* backend = nullptr;
  const auto engine = ahead_engine(with_draft("ngram", std::nullopt), backend);
  Request request;
  for (std::int32_t i = 0; i < 40; ++i)
    request.prompt_tokens.push_back(CountingBackend::token_at(i));
  request.sampling.max_tokens = 450;
  request.sampling.ignore_eos = true;
  const Outcome outcome = run(*engine, {request})[0];
  ASSERT_EQ(outcome.tokens.size(), 450U);
  EXPECT_EQ(outcome.tokens.back(), CountingBackend::token_at(40 + 449));
  EXPECT_EQ(engine->stats().num_accepted_draft_tokens, 0);
  EXPECT_GT(backend->num_placeholders, 400);
}

/// Says what it was to prepare for.
class PreparingBackend final : public AheadBackend {
 public:
  using AheadBackend::AheadBackend;
  void prepare_steps(Activations& activations, const StepLimits& limits, const void* /*model*/,
                     const KvCache& /*cache*/, const std::function<void()>& operations) override {
    EXPECT_TRUE(operations);
    prepared_for[&activations] = limits;
  }
  std::unordered_map<const Activations*, StepLimits> prepared_for;
};

TEST(Speculation, devices_prepare_for_steps_with_drafts_alone) {
  PreparingBackend* backend = nullptr;
  EngineConfig config = with_draft("ngram", std::nullopt);
  config.max_batch = 8;
  config.max_context = 300;
  {
    const auto engine = ahead_engine(config, backend);
    ASSERT_EQ(backend->prepared_for.size(), 1U);
    const StepLimits& limits = backend->prepared_for.begin()->second;
    EXPECT_EQ(limits.num_sequences, 8);
    EXPECT_EQ(limits.num_tokens, 8 + 4 * 8);  // see most_step_drafts()
    EXPECT_EQ(limits.num_positions, 300);
  }
  config.speculation.depth = 0;
  {
    const auto engine = ahead_engine(config, backend);
    EXPECT_TRUE(backend->prepared_for.empty());
  }
  EngineConfig with_model = with_draft(draft().path(), std::nullopt);
  const auto engine = ahead_engine(with_model, backend);
  EXPECT_EQ(backend->prepared_for.size(), 2U);  // the model's steps and the draft model's
}

}  // namespace
}  // namespace iol::test
