// A copy between device and host that fails: nobody goes on with blocks that may hold anything, and
// the engine goes on unless the device is lost.
#include <gtest/gtest.h>

#include "base/error.h"
#include "engine/engine_loop.h"
#include "tests/engine/ahead_backend.h"
#include "tests/engine/collector.h"

namespace iol::test {
namespace {

constexpr int kNumRequests = 4;
constexpr int kMaxTokens = 40;

/// The first copy back to the device spoils its blocks and fails.
template <class Failure>
class FailingSwapSpace final : public KvSwapSpace {
 public:
  explicit FailingSwapSpace(std::unique_ptr<KvSwapSpace> inner) : inner_(std::move(inner)) {}
  [[nodiscard]] std::size_t size_bytes() const override { return inner_->size_bytes(); }
  void copy_out(std::span<const BlockCopy> copies) override { inner_->copy_out(copies); }
  void copy_in(std::span<const BlockCopy> copies) override {
    inner_->copy_in(copies);
    if (copies.empty() || has_failed_) return;
    has_failed_ = true;
    inner_->copy_in(copies);  // what was read from is spoilt by now
    throw Failure("CUDA: copying KV blocks from the host failed: because");
  }

 private:
  std::unique_ptr<KvSwapSpace> inner_;
  bool has_failed_ = false;
};

template <class Failure>
class FailingBackend final : public AheadBackend {
 public:
  using AheadBackend::AheadBackend;
  std::unique_ptr<KvSwapSpace> make_swap_space(KvCache& cache, int num_slots) override {
    return std::make_unique<FailingSwapSpace<Failure>>(
        AheadBackend::make_swap_space(cache, num_slots));
  }
};

/// A cache in which two sequences at most have room to their end.
template <class Failure>
std::unique_ptr<EngineLoop> make_engine(PreemptionMode preemption) {
  EngineConfig config;
  config.model = std::string(IOL_SOURCE_DIR) + "/models/books-2m";
  config.max_context = 128;
  config.max_batch = 4;
  config.max_step_tokens = 128;
  config.kv_cache_tokens = 160;
  config.num_threads = 1;
  config.device.kind = DeviceKind::kCpu;
  config.dtype = DType::kF32;
  config.preemption = preemption;
  config.swap_space_bytes = 64 << 20;
  LoadedModel model = load_model(config);
  config.kv_dtype = model.kv_dtype;
  model.backend = std::make_unique<FailingBackend<Failure>>(std::move(model.backend));
  return std::make_unique<EngineLoop>(config, std::move(model));
}

std::vector<Outcome> run_all(Engine& engine) {
  Collector collector;
  for (int i = 0; i < kNumRequests; ++i) {
    Request request;
    for (int k = 0; k < 30 + i; ++k) request.prompt_tokens.push_back(100 * i + k);
    request.sampling.max_tokens = kMaxTokens;
    request.sampling.ignore_eos = true;
    engine.submit(std::move(request), collector.listen(i));
  }
  engine.drain();
  std::vector<Outcome> outcomes;
  for (int i = 0; i < kNumRequests; ++i) outcomes.push_back(collector.outcome(i));
  return outcomes;
}

int num_errors(const std::vector<Outcome>& outcomes) {
  return static_cast<int>(std::ranges::count(outcomes, FinishReason::kError,
                                             [](const auto& each) { return *each.finish_reason; }));
}

TEST(FailingSwap, ends_those_under_way_and_nobody_finds_their_blocks) {
  const auto want = run_all(*make_engine<ResourceError>(PreemptionMode::kRecompute));
  ASSERT_EQ(num_errors(want), 0);
  const auto engine = make_engine<ResourceError>(PreemptionMode::kSwap);
  const auto failed = run_all(*engine);
  EXPECT_GT(num_errors(failed), 0);
  for (const Outcome& outcome : failed) EXPECT_EQ(outcome.num_ends, 1);
  EXPECT_EQ(engine->stats().num_blocks_used, 0);
  EXPECT_EQ(engine->stats().num_swap_slots_used, 0);
  EXPECT_EQ(engine->stats().device_error, "");
  const auto again = run_all(*engine);
  for (std::size_t i = 0; i < again.size(); ++i) EXPECT_EQ(again[i].tokens, want[i].tokens);
  EXPECT_GT(engine->stats().num_swapped_in_blocks, 0);
}

TEST(FailingSwap, with_a_lost_device_ends_the_engine) {
  const auto engine = make_engine<DeviceError>(PreemptionMode::kSwap);
  EXPECT_GT(num_errors(run_all(*engine)), 0);
  EXPECT_NE(engine->stats().device_error.find("because"), std::string::npos);
  EXPECT_THROW(run_all(*engine), DeviceError);
}

}  // namespace
}  // namespace iol::test
