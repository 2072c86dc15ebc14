#include "bench/ladder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "base/error.h"
#include "bench/engine_child.h"
#include "model/memory_plan.h"
#include "model/resolve.h"

namespace iol::bench {
namespace {

class Ladder : public ::testing::Test {
 protected:
  Ladder() {
    model_.name = "synthetic:test";
    model_.config.architecture = "LlamaForCausalLM";
    model_.config.num_layers = 2;
    model_.config.hidden_size = 64;
    model_.config.num_heads = 4;
    model_.config.num_kv_heads = 2;
    model_.config.head_dim = 16;
    model_.config.vocab_size = 50;
    model_.dtype = DType::kBF16;
    engine_.model = model_.name;
    engine_.num_threads = 2;
    engine_.max_batch = 32;
    engine_.prefix_cache = false;
    plan_.max_concurrency = 32;
    plan_.max_request_tokens = 300;
  }

  LadderPlan ladder(const LadderOptions& options = {}, bool reuses_prefixes = false) const {
    return plan_ladder(options, engine_, model_, plan_, /*with_pytorch=*/true, reuses_prefixes);
  }

  /// The settings in which two configurations differ.
  static std::set<std::string> differences(const EngineConfig& a, const EngineConfig& b) {
    const auto before = engine_config_json(a);
    const auto after = engine_config_json(b);
    std::set<std::string> names;
    for (const auto& [name, value] : before.items()) {
      if (after.at(name) != value) names.insert(name);
    }
    return names;
  }

  BenchModel model_;
  EngineConfig engine_;
  Plan plan_;
};

TEST_F(Ladder, every_rung_changes_one_lever_and_nothing_else) {
  const auto rungs = ladder().rungs;
  ASSERT_EQ(rungs.size(), 8U);
  EXPECT_FALSE(rungs[0].engine || rungs[1].engine);
  EXPECT_EQ(rungs[2].engine->scheduler, SchedulerPolicy::kStatic);
  EXPECT_EQ(rungs[2].engine->kv_allocation, KvAllocation::kContiguous);
  EXPECT_EQ(rungs[2].engine->quant, Quantization{});
  const std::vector<std::set<std::string>> expected = {
      {"scheduler"}, {"kv_allocation"}, {"quant"}, {"kv_dtype", "kv_cache_tokens"}, {"draft"}};
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(differences(*rungs[i + 2].engine, *rungs[i + 3].engine), expected[i]);
  }
}

TEST_F(Ladder, prefixes_are_reused_from_the_paged_rung_on_where_the_traffic_has_any) {
  const auto rungs = ladder({}, /*reuses_prefixes=*/true).rungs;
  EXPECT_FALSE(rungs[3].engine->prefix_cache);
  EXPECT_EQ(differences(*rungs[3].engine, *rungs[4].engine),
            (std::set<std::string>{"kv_allocation", "prefix_cache"}));
  EXPECT_TRUE(rungs[6].engine->prefix_cache);
}

TEST_F(Ladder, every_rung_has_the_same_bytes_for_keys_and_values) {
  for (const DType kv_dtype : {DType::kI8, DType::kF8E4M3}) {
    const auto plan = ladder({.kv_dtype = kv_dtype});
    EXPECT_EQ(plan.kv_sequences, 8);
    for (const auto& rung : plan.rungs) {
      if (!rung.engine) continue;
      const auto bytes =
          rung.engine->kv_cache_tokens *
          kv_bytes_per_token(model_.config, rung.engine->kv_dtype.value_or(model_.dtype));
      EXPECT_LE(bytes, plan.kv_cache_bytes);
      EXPECT_GT(bytes, plan.kv_cache_bytes * 99 / 100) << rung.label;
    }
    // 8 sequences of 300 tokens, in blocks of 16.
    EXPECT_EQ(plan.rungs[2].engine->kv_cache_tokens, 8 * 19 * 16);
    EXPECT_EQ(plan.rungs.back().engine->kv_dtype, kv_dtype);
  }
}

TEST_F(Ladder, a_draft_model_takes_its_keys_and_values_from_the_same_bytes) {
  engine_.speculation = parse_draft("demo-draft");
  const auto rungs = ladder().rungs;
  const EngineConfig& before = *rungs[6].engine;
  const EngineConfig& last = *rungs[7].engine;
  EXPECT_EQ(differences(before, last), (std::set<std::string>{"draft", "kv_cache_tokens"}));
  EXPECT_EQ(rungs[6].engine->speculation, SpeculationConfig());
  const auto target = kv_bytes_per_token(model_.config, DType::kI8);
  const auto draft =
      kv_bytes_per_token(load_model_config(resolve_model("demo-draft").folder), DType::kI8);
  EXPECT_LE(last.kv_cache_tokens * (target + draft), before.kv_cache_tokens * target);
  EXPECT_GT((last.kv_cache_tokens + last.block_size) * (target + draft),
            before.kv_cache_tokens * target);
}

TEST_F(Ladder, has_the_same_rungs_on_a_gpu) {
  const auto levers = [&] {
    std::vector<std::string> levers;
    for (const Rung& rung : ladder().rungs) levers.push_back(rung.lever);
    return levers;
  };
  const auto on_cpu = levers();
  engine_.device = {DeviceKind::kCuda, 0};
  EXPECT_EQ(levers(), on_cpu);
  EXPECT_EQ(on_cpu.back(), "speculation");
}

TEST_F(Ladder, takes_the_room_that_the_user_says) {
  EXPECT_EQ(ladder({.kv_sequences = 3}).kv_sequences, 3);
  EXPECT_EQ(ladder_kv_sequences({}, {.concurrencies = {2, 1}}), 1);
  EXPECT_EQ(ladder_kv_sequences({}, {.concurrencies = {4, 64}}), 16);
}

TEST_F(Ladder, refuses_a_model_that_is_quantized_already) {
  model_.built_from = BuiltFrom{"an engine directory", {}, {}, {}, {}};
  EXPECT_THROW(ladder(), InputError);
}

TEST(LadderScenario, clients_allow_the_longest_output_of_the_traffic) {
  auto scenario = ladder_scenario();
  scenario.num_repetitions = 2;
  const auto plan = make_plan(scenario, PromptSource::random_ids(50), 2048);
  std::int64_t longest = 0;
  for (const auto& load : plan.loads) {
    EXPECT_EQ(load.point.num_requests, load.point.scenario == "latency" ? 16 : 32);
    for (const auto& run : load.repetitions) {
      for (const auto& request : run) {
        longest = std::max(longest, request.output_tokens);
        EXPECT_EQ(request.output_limit, plan.loads[0].repetitions[0][0].output_limit);
      }
    }
  }
  EXPECT_GE(plan.loads[0].repetitions[0][0].output_limit, longest);
  EXPECT_LE(plan.max_request_tokens, 128 + plan.loads[0].repetitions[0][0].output_limit);
}

}  // namespace
}  // namespace iol::bench
