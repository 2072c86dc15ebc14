// A device that is lost in the middle of work: every request ends with the reason, once, the engine
// takes no more, and its end is a clean one.
#include <gtest/gtest.h>

#include "base/error.h"
#include "engine/engine_loop.h"
#include "tests/engine/ahead_backend.h"
#include "tests/engine/collector.h"

namespace iol::test {
namespace {

constexpr int kNumRequests = 6;
constexpr int kMaxTokens = 40;
constexpr auto kReason = "CUDA: a step failed: an illegal memory access was encountered";

enum class Where { kStarting, kFinishing };

/// Works for some steps; then every call fails, as those of a lost GPU do.
template <class Failure>
class FailingBackend final : public AheadBackend {
 public:
  FailingBackend(std::unique_ptr<Backend> inner, Where where, int num_good_steps, int num_bad_steps)
      : AheadBackend(std::move(inner)),
        where_(where),
        num_good_(num_good_steps),
        num_bad_(num_bad_steps) {}

  void run_step(Activations& activations, const StepInput& input, const void* model,
                const KvCache& cache, const std::function<void()>& operations) override {
    if (where_ == Where::kStarting) fail_in_turn();
    AheadBackend::run_step(activations, input, model, cache, operations);
  }
  void finish_step(Activations& activations) override {
    AheadBackend::finish_step(activations);
    if (where_ == Where::kFinishing) fail_in_turn();
  }

 private:
  void fail_in_turn() {
    if (num_good_-- > 0 || num_bad_-- <= 0) return;
    throw Failure(kReason);
  }

  Where where_;
  int num_good_;
  int num_bad_;
};

class LostDevice : public testing::TestWithParam<Where> {
 protected:
  template <class Failure>
  std::unique_ptr<EngineLoop> make_engine(int num_bad_steps) const {
    EngineConfig config;
    config.model = std::string(IOL_SOURCE_DIR) + "/models/books-2m";
    config.max_context = 128;
    config.max_batch = 4;  // some wait while others run
    config.max_step_tokens = 32;
    config.kv_cache_tokens = 512;
    config.num_threads = 1;
    config.device.kind = DeviceKind::kCpu;
    config.dtype = DType::kF32;
    LoadedModel model = load_model(config);
    config.kv_dtype = model.kv_dtype;
    constexpr int kGoodSteps = 7;
    model.backend = std::make_unique<FailingBackend<Failure>>(std::move(model.backend), GetParam(),
                                                              kGoodSteps, num_bad_steps);
    return std::make_unique<EngineLoop>(config, std::move(model));
  }
};

Request request_of(int number) {
  Request request;
  for (int i = 0; i < 10 + number; ++i) request.prompt_tokens.push_back(100 * number + i);
  request.sampling.max_tokens = kMaxTokens;
  request.sampling.ignore_eos = true;
  return request;
}

void run_all(Engine& engine, Collector& collector) {
  for (int i = 0; i < kNumRequests; ++i) engine.submit(request_of(i), collector.listen(i));
  engine.drain();
}

TEST_P(LostDevice, ends_every_request_with_the_reason_and_takes_no_more) {
  Collector collector;
  const auto engine = make_engine<DeviceError>(/*num_bad_steps=*/1000);
  run_all(*engine, collector);
  int num_tokens = 0;
  for (int i = 0; i < kNumRequests; ++i) {
    const Outcome outcome = collector.outcome(i);
    EXPECT_EQ(outcome.num_ends, 1);
    EXPECT_EQ(outcome.finish_reason, FinishReason::kError);
    EXPECT_NE(outcome.error.find(kReason), std::string::npos) << outcome.error;
    num_tokens += static_cast<int>(outcome.tokens.size());
  }
  EXPECT_GT(num_tokens, 0) << "the device failed before it worked";
  EXPECT_EQ(engine->stats().num_running + engine->stats().num_waiting, 0);
  EXPECT_NE(engine->stats().device_error.find("restart"), std::string::npos);
  try {
    engine->submit(request_of(0), {});
    FAIL() << "a lost device took a request";
  } catch (const DeviceError& error) {
    EXPECT_EQ(error.what(), engine->stats().device_error);
  }
}

TEST_P(LostDevice, a_step_that_fails_otherwise_ends_its_own_requests_alone) {
  Collector collector;
  const auto engine = make_engine<ResourceError>(/*num_bad_steps=*/1);
  run_all(*engine, collector);
  int num_failed = 0;
  for (int i = 0; i < kNumRequests; ++i) {
    const Outcome outcome = collector.outcome(i);
    EXPECT_EQ(outcome.num_ends, 1);
    if (outcome.finish_reason == FinishReason::kError) {
      ++num_failed;
    } else {
      EXPECT_EQ(outcome.tokens.size(), static_cast<std::size_t>(kMaxTokens));
    }
  }
  EXPECT_GT(num_failed, 0);
  EXPECT_LT(num_failed, kNumRequests);
  EXPECT_TRUE(engine->stats().device_error.empty());
  engine->submit(request_of(0), collector.listen(kNumRequests));
  engine->drain();
  EXPECT_EQ(collector.outcome(kNumRequests).finish_reason, FinishReason::kLength);
}

INSTANTIATE_TEST_SUITE_P(WhileAStep, LostDevice,
                         testing::Values(Where::kStarting, Where::kFinishing),
                         [](const auto& info) {
                           return info.param == Where::kStarting ? "starts" : "is_waited_for";
                         });

}  // namespace
}  // namespace iol::test
