// A request's tokens and log-probabilities are the same to the last bit whoever shares its batch,
// however its prompt is cut into chunks, whether it was preempted, found its prefix in the cache or
// saw neighbours cancelled, on any number of threads, and whoever drafts for it.
#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <thread>
#include <tuple>

#include "base/random.h"
#include "engine/loaded_model.h"
#include "tests/engine/collector.h"
#include "tests/engine/draft_folder.h"

namespace iol::test {
namespace {

constexpr int kVocabSize = 8192;
constexpr int kNumSpecs = 24;
#ifdef IOL_SANITIZED
constexpr int kNumTrials = 20;  // ten times as slow there
#else
constexpr int kNumTrials = 200;
#endif

std::string draft_model() { return std::string(IOL_SOURCE_DIR) + "/models/books-2m"; }

/// The fixed set of requests that every trial draws from. Every other one starts with a shared
/// prefix.
Request request_spec(int spec) {
  RandomStream random(1000 + static_cast<std::uint64_t>(spec));
  RandomStream prefix(7);
  Request request;
  if (spec % 2 == 0) {
    for (int i = 0; i < 70; ++i)
      request.prompt_tokens.push_back(static_cast<std::int32_t>(prefix.below(kVocabSize)));
  }
  const int own_tokens = 1 + static_cast<int>(random.below(90));
  for (int i = 0; i < own_tokens; ++i) {
    request.prompt_tokens.push_back(static_cast<std::int32_t>(random.below(kVocabSize)));
  }
  if (spec % 6 == 5) {  // something for lookup to find
    for (std::size_t i = 0; i < 40; ++i)
      request.prompt_tokens.push_back(request.prompt_tokens[i % 7 % request.prompt_tokens.size()]);
  }
  auto& sampling = request.sampling;
  sampling.max_tokens = 1 + static_cast<int>(random.below(50));
  sampling.ignore_eos = true;
  sampling.seed = static_cast<std::uint64_t>(spec);
  if (spec % 3 != 0) {
    sampling.temperature = 0.9;
    sampling.top_p = 0.95;
    sampling.top_k = spec % 4 == 0 ? 50 : 0;
    sampling.repetition_penalty = spec % 5 == 0 ? 1.2 : 1.0;
  }
  if (spec % 4 != 1) sampling.num_logprobs = spec % 3;
  return request;
}

EngineConfig base_config() {
  EngineConfig config;
  config.model = draft_model();
  config.max_context = 256;
  config.kv_cache_tokens = 4096;
  config.deterministic = true;  // a Hopper GPU needs to be told
  return config;
}

/// Of the weight format, the KV cache format and the instruction set of `like`.
const std::map<int, Outcome>& outcomes_alone(const EngineConfig& like) {
  using Key = std::tuple<WeightFormat, std::optional<DType>, std::optional<Isa>>;
  static std::map<Key, std::map<int, Outcome>> known;
  auto& alone = known[{like.quant.format, like.kv_dtype, like.isa}];
  if (!alone.empty()) return alone;
  EngineConfig config = base_config();
  config.quant = like.quant;
  config.kv_dtype = like.kv_dtype;
  config.isa = like.isa;
  config.num_threads = 1;
  config.max_batch = 1;
  config.prefix_cache = false;
  Collector collector;
  const auto engine = Engine::create(config);
  for (int spec = 0; spec < kNumSpecs; ++spec) {
    engine->submit(request_spec(spec), collector.listen(spec));
    engine->drain();
    alone[spec] = collector.outcome(spec);
  }
  return alone;
}

/// None, lookup, a model, or both; any depth. The same tokens from all.
SpeculationConfig random_speculation(RandomStream& random) {
  static const DraftFolder folder;
  SpeculationConfig speculation;
  const auto who = random.below(5);
  if (who == 0) return speculation;
  speculation.ngram = who == 1 || who == 3;
  if (who >= 2) speculation.model = folder.path();
  if (who == 2) speculation.quant = WeightFormat::kNone;
  if (random.below(3) != 0) speculation.depth = static_cast<int>(random.below(17));
  return speculation;
}

EngineConfig random_config(RandomStream& random) {
  EngineConfig config = base_config();
  config.num_threads = 1 + static_cast<int>(random.below(3));
  config.max_batch = 1 + static_cast<int>(random.below(9));
  config.max_step_tokens = config.max_batch + static_cast<int>(random.below(120));
  config.block_size = random.below(2) == 0 ? 16 : 32;
  config.prefix_cache = random.below(2) == 0;
  if (random.below(3) != 0)
    config.quant.format = kWeightFormats[random.below(kWeightFormats.size())].format;
  config.quant.group_size = 64;  // the draft model's rows have 192 and 512 columns
#ifndef IOL_SANITIZED
  // Mostly the best instruction set; never the slow portable loops where there is another.
  const auto isas = supported_isas();
  if (isas.size() > 1 && random.below(3) == 0) config.isa = isas[1 + random.below(isas.size() - 1)];
#endif
  const std::optional<DType> kv_formats[] = {std::nullopt, DType::kI8, DType::kF8E4M3};
  config.kv_dtype = kv_formats[random.below(3)];
  if (random.below(4) == 0) config.scheduler = SchedulerPolicy::kStatic;
  if (random.below(4) == 0) config.kv_allocation = KvAllocation::kContiguous;
  // Often barely enough for one sequence, so that blocks run out and sequences are preempted.
  config.kv_cache_tokens =
      random.below(2) == 0 ? 256 : 256 + static_cast<std::int64_t>(random.below(1024));
  config.speculation = random_speculation(random);
  const bool preempts = config.scheduler == SchedulerPolicy::kInFlight &&
                        config.kv_allocation == KvAllocation::kPaged;
  if (device_of(config).kind == DeviceKind::kCuda && preempts && random.below(3) != 0) {
    config.preemption = PreemptionMode::kSwap;  // into little or much
    config.swap_space_bytes = std::int64_t{1} << (19 + random.below(6));
  }
  return config;
}

TEST(Invariance, every_request_is_identical_to_itself_alone_under_random_schedules) {
  std::int64_t num_preemptions = 0;
  std::int64_t num_swapped_in = 0;
  std::int64_t num_cached = 0;
  int num_cancelled = 0;
  std::int64_t num_drafts = 0;
  std::int64_t num_accepted = 0;
  for (int trial = 0; trial < kNumTrials; ++trial) {
    RandomStream random(static_cast<std::uint64_t>(trial), 9);
    Collector collector;
    const EngineConfig config = random_config(random);
    const auto engine = Engine::create(config);
    std::vector<int> specs;
    std::vector<RequestId> ids;
    const int num_requests = 2 + static_cast<int>(random.below(18));
    for (int i = 0; i < num_requests; ++i) {
      specs.push_back(static_cast<int>(random.below(kNumSpecs)));
      Request request = request_spec(specs.back());
      request.priority = static_cast<int>(random.below(3));
      ids.push_back(engine->submit(std::move(request), collector.listen(i)));
      if (random.below(3) == 0) {
        std::this_thread::sleep_for(std::chrono::microseconds(random.below(3000)));
      }
      if (random.below(8) == 0) engine->cancel(ids[random.below(ids.size())]);
    }
    engine->drain();
    num_preemptions += engine->stats().num_preemptions;
    num_swapped_in += engine->stats().num_swapped_in_blocks;
    num_cached += engine->stats().cached_tokens;
    num_drafts += engine->stats().num_draft_tokens;
    num_accepted += engine->stats().num_accepted_draft_tokens;
    ASSERT_EQ(engine->stats().draft_error, "");
    for (int i = 0; i < num_requests; ++i) {
      const Outcome outcome = collector.outcome(i);
      const Outcome& alone = outcomes_alone(config).at(specs[static_cast<std::size_t>(i)]);
      ASSERT_EQ(outcome.num_ends, 1) << "trial " << trial << ", request " << i;
      if (outcome.finish_reason == FinishReason::kCancelled) {
        ++num_cancelled;
      } else {
        ASSERT_EQ(outcome.finish_reason, alone.finish_reason) << outcome.error;
        ASSERT_EQ(outcome.tokens.size(), alone.tokens.size());
      }
      ASSERT_TRUE(identical(outcome, alone, outcome.tokens.size()))
          << "trial " << trial << ", request " << i;
    }
  }
  // The schedules did contain what they are meant to contain; how often depends on the machine: its
  // speed decides who is cancelled when and which drafts pay, its instructions what a model says
  // (some 20 accepted a trial on a fast one).
  EXPECT_GT(num_preemptions, kNumTrials / 10);
  if (device_of(base_config()).kind == DeviceKind::kCuda) {
    EXPECT_GT(num_swapped_in, kNumTrials / 5);
  }
  EXPECT_GT(num_cached, 5 * kNumTrials);
  EXPECT_GT(num_cancelled, kNumTrials / 10);
  EXPECT_GT(num_accepted, 5 * kNumTrials);
  EXPECT_GT(num_drafts - num_accepted, 20 * kNumTrials);
}

TEST(Invariance, a_different_request_is_not_identical) {
  const auto& outcomes = outcomes_alone(base_config());
  EXPECT_FALSE(identical(outcomes.at(0), outcomes.at(2), 1) &&
               identical(outcomes.at(3), outcomes.at(9), 1));
}

}  // namespace
}  // namespace iol::test
