// The GPU's memory is taken away while an engine runs: a step takes none, so requests go on, or
// those whose step needed a kernel that wasn't loaded yet end with the reason; and all is well when
// the memory comes back. Needs a GPU.
#include <gtest/gtest.h>

#include <vector>

#include "backend/cuda/cuda_backend.h"
#include "backend/cuda/cuda_device.h"
#include "base/error.h"
#include "tests/engine/collector.h"

namespace iol::test {
namespace {

constexpr int kNumRequests = 24;
constexpr int kMaxTokens = 30;

/// All that is free, to the last 64 kB.
class MemoryHog {
 public:
  MemoryHog() : backend_(make_cuda_backend({0, 1, DType::kBF16})) {
    constexpr std::int64_t kBlockBytes = 64 << 10;  // of the shape below
    for (std::int64_t blocks = cuda_free_bytes(0) / kBlockBytes; blocks > 0;) {
      try {
        held_.push_back(
            backend_->make_kv_cache({1, static_cast<int>(blocks), 16, 8, 128, DType::kBF16}));
      } catch (const ResourceError&) {
        blocks /= 2;
      }
    }
  }

 private:
  std::unique_ptr<Backend> backend_;
  std::vector<std::unique_ptr<KvCache>> held_;
};

/// Of every length, some drawn, so that steps have many forms.
std::vector<Outcome> run_requests(Engine& engine) {
  Collector collector;
  for (int i = 0; i < kNumRequests; ++i) {
    Request request;
    for (int k = 0; k < 5 + 9 * i; ++k) request.prompt_tokens.push_back(100 + 7 * k + i);
    request.sampling.max_tokens = kMaxTokens - i;
    request.sampling.ignore_eos = true;
    request.sampling.seed = i;
    if (i % 3 == 2) request.sampling.temperature = 0.8;
    engine.submit(std::move(request), collector.listen(i));
  }
  engine.drain();
  std::vector<Outcome> outcomes;
  for (int i = 0; i < kNumRequests; ++i) outcomes.push_back(collector.outcome(i));
  return outcomes;
}

std::unique_ptr<Engine> make_engine(bool drafts = false) {
  EngineConfig config;
  config.speculation.ngram = drafts;
  config.model = std::string(IOL_SOURCE_DIR) + "/models/books-2m";
  config.device = {DeviceKind::kCuda, 0};
  config.max_batch = 16;
  config.max_context = 512;
  config.kv_cache_tokens = 8192;
  config.prefix_cache = false;
  return Engine::create(config);
}

class GpuMemory : public testing::TestWithParam<bool> {};

TEST_P(GpuMemory, an_engine_outlives_the_memory_being_taken_by_others) {
  if (cuda_status().devices.empty()) GTEST_SKIP() << cuda_status().reason;
  const std::vector<Outcome> want = run_requests(*make_engine());
  const auto engine = make_engine(GetParam());
  int num_ended_well = 0;
  {
    const MemoryHog hog;
    ASSERT_LT(cuda_free_bytes(0), std::int64_t{4} << 20);
    for (int round = 0; round < 3; ++round) {  // forms that come again want graphs
      const std::vector<Outcome> got = run_requests(*engine);
      for (std::size_t i = 0; i < got.size(); ++i) {
        ASSERT_EQ(got[i].num_ends, 1);
        if (got[i].finish_reason == FinishReason::kError) {
          EXPECT_NE(got[i].error.find("memory"), std::string::npos) << got[i].error;
          EXPECT_EQ(got[i].error.find('\n'), std::string::npos);
        } else {
          EXPECT_EQ(got[i].tokens, want[i].tokens) << "request " << i;
          ++num_ended_well;
        }
      }
    }
  }
  RecordProperty("ended_well", num_ended_well);
  EXPECT_EQ(engine->stats().device_error, "");
  const std::vector<Outcome> after = run_requests(*engine);
  for (std::size_t i = 0; i < after.size(); ++i) EXPECT_EQ(after[i].tokens, want[i].tokens);
}

INSTANTIATE_TEST_SUITE_P(WithAndWithoutDrafts, GpuMemory, testing::Bool());

TEST(GpuMemoryAtStart, a_model_that_finds_no_room_is_refused_in_one_line) {
  if (cuda_status().devices.empty()) GTEST_SKIP() << cuda_status().reason;
  const MemoryHog hog;
  try {
    make_engine();
    FAIL() << "it found room";
  } catch (const ResourceError& error) {
    const std::string message = error.what();
    EXPECT_EQ(message.rfind("cuda:0 can't be used: CUDA: ", 0), 0U) << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  }
}

}  // namespace
}  // namespace iol::test
