#include "bench/engine_child.h"

#include <gtest/gtest.h>

#include <sstream>

#include "base/error.h"
#include "tests/bench/fake_engine.h"

namespace iol::bench {
namespace {

using nlohmann::json;

EngineConfig unusual_config() {
  EngineConfig config;
  config.model = "some/folder \"quoted\"";
  config.dtype = DType::kF32;
  config.kv_dtype = DType::kI8;
  config.isa = Isa::kAvx2;
  config.num_threads = 3;
  config.max_batch = 7;
  config.max_step_tokens = 99;
  config.max_context = 1234;
  config.kv_cache_tokens = std::int64_t{1} << 40;
  config.block_size = 32;
  config.scheduler = SchedulerPolicy::kStatic;
  config.kv_allocation = KvAllocation::kContiguous;
  config.prefix_cache = false;
  config.preemption = PreemptionMode::kSwap;
  config.swap_space_bytes = std::int64_t{3} << 29;
  config.seed = ~std::uint64_t{0};
  return config;
}

std::vector<json> lines_of(const std::string& text) {
  std::vector<json> messages;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) messages.push_back(json::parse(line));
  return messages;
}

struct Conversation {
  int status = 0;
  std::vector<json> messages;
};

Conversation serve(const std::string& input, const EngineFactory& factory) {
  std::istringstream in(input);
  std::ostringstream out;
  Conversation conversation;
  conversation.status = serve_engine(engine_config_json({}).dump(), factory, in, out);
  conversation.messages = lines_of(out.str());
  return conversation;
}

const EngineFactory kFakeEngine = [](const EngineConfig& config) {
  return std::make_unique<FakeEngine>(config);
};

TEST(EngineChild, configuration_survives_the_trip) {
  for (const auto& config : {EngineConfig{}, unusual_config()}) {
    const auto text = engine_config_json(config).dump();
    EXPECT_EQ(engine_config_json(parse_engine_config(json::parse(text))).dump(), text);
  }
  const auto parsed = parse_engine_config(engine_config_json(unusual_config()));
  EXPECT_EQ(parsed.isa, Isa::kAvx2);
  EXPECT_EQ(parsed.seed, ~std::uint64_t{0});
  EXPECT_EQ(parsed.scheduler, SchedulerPolicy::kStatic);
}

TEST(EngineChild, refuses_a_broken_configuration) {
  EXPECT_THROW(parse_engine_config(json::object()), InputError);
  auto wrong = engine_config_json({});
  wrong["max_batch"] = "many";
  EXPECT_THROW(parse_engine_config(wrong), InputError);
  wrong = engine_config_json({});
  wrong["dtype"] = "f7";
  EXPECT_THROW(parse_engine_config(wrong), InputError);
}

TEST(EngineChild, answers_runs_until_told_to_quit) {
  const std::string run =
      R"({"type":"run","phase":"measure","concurrency":2,"requests":[)"
      R"({"id":4,"prompt":[9,1],"output_tokens":3},{"id":5,"prompt":[8],"output_tokens":1}]})";
  const auto conversation =
      serve(run + "\n" + run + "\n{\"type\":\"quit\"}\nnot read", kFakeEngine);
  EXPECT_EQ(conversation.status, 0);
  const auto& messages = conversation.messages;
  ASSERT_EQ(messages.size(), 7);
  EXPECT_EQ(messages[0]["type"], "ready");
  EXPECT_EQ(messages[0]["memory"]["weights_bytes"], 1000);
  EXPECT_GT(messages[0]["memory"]["resident_bytes"], 0);
  EXPECT_EQ(messages[0]["settings"]["backend"], "fake");
  EXPECT_EQ(messages[1]["type"], "request");
  EXPECT_EQ(messages[1]["id"], 4);
  EXPECT_EQ(messages[1]["tokens"].size(), 3);
  EXPECT_EQ(messages[1]["tokens"][2], FakeEngine::token({9, 1}, 2));
  EXPECT_EQ(messages[2]["id"], 5);
  EXPECT_EQ(messages[3]["type"], "done");
  EXPECT_GE(messages[3]["end_ns"], messages[3]["start_ns"]);
  EXPECT_EQ(messages[6]["type"], "done");
}

TEST(EngineChild, forgets_cached_prefixes_before_every_run) {
  FakeEngine* engine = nullptr;
  int clears = 0;
  std::istringstream in(
      R"({"type":"run","phase":"measure","concurrency":1,"requests":[{"id":1,"prompt":[1],"output_tokens":1}]})"
      "\n"
      R"({"type":"run","phase":"measure","concurrency":1,"requests":[{"id":2,"prompt":[1],"output_tokens":1}]})"
      "\n");
  struct Counting : FakeEngine {
    Counting(const EngineConfig& config, int& clears) : FakeEngine(config), clears_(clears) {}
    void clear_prefix_cache() override { ++clears_; }
    int& clears_;
  };
  std::ostringstream out;
  serve_engine(
      engine_config_json({}).dump(),
      [&](const EngineConfig& config) {
        auto created = std::make_unique<Counting>(config, clears);
        engine = created.get();
        return created;
      },
      in, out);
  EXPECT_NE(engine, nullptr);
  EXPECT_EQ(clears, 2);
}

TEST(EngineChild, an_engine_that_can_not_start_is_an_error_message) {
  const auto conversation = serve("", [](const EngineConfig&) -> std::unique_ptr<Engine> {
    throw_input_error("no such model");
  });
  EXPECT_EQ(conversation.status, 1);
  ASSERT_EQ(conversation.messages.size(), 1);
  EXPECT_EQ(conversation.messages[0], json::parse(R"({"type":"error","message":"no such model"})"));
}

TEST(EngineChild, a_broken_message_ends_it_with_an_error) {
  for (const char* input : {"nonsense\n", "{}\n", "[]\n", "{\"type\":\"run\"}\n",
                            R"({"type":"run","phase":"measure","concurrency":1,"requests":[{}]})"
                            "\n"}) {
    const auto conversation = serve(input, kFakeEngine);
    EXPECT_EQ(conversation.status, 1) << input;
    EXPECT_EQ(conversation.messages.back()["type"], "error") << input;
  }
}

TEST(EngineChild, a_refused_request_carries_its_error) {
  const auto conversation = serve(
      R"({"type":"run","phase":"measure","concurrency":1,"requests":[{"id":4,"prompt":[],"output_tokens":3}]})",
      kFakeEngine);
  EXPECT_EQ(conversation.status, 0);
  EXPECT_EQ(conversation.messages[1]["error"], "the prompt is empty");
}

}  // namespace
}  // namespace iol::bench
