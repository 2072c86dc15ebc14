// What a run uses is what `iol plan` said it would.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "engine/engine.h"
#include "tests/run_iol.h"

namespace iol {
namespace {

using nlohmann::json;

struct PlannedRun {
  const char* model;
  const char* dtype;
  int context;
  int batch;
  const char* draft = nullptr;
};

class Plan : public testing::TestWithParam<PlannedRun> {};

constexpr int kNumGenerated = 100;  // more steps than all prefills take

std::int64_t resident_bytes() {
  std::ifstream status("/proc/self/statm");
  std::int64_t mapped = 0;
  std::int64_t resident = 0;
  status >> mapped >> resident;
  return resident * ::sysconf(_SC_PAGE_SIZE);
}

/// Fills `batch` sequences to their whole context, together.
void use_everything(Engine& engine, const PlannedRun& run) {
  for (int sequence = 0; sequence < run.batch; ++sequence) {
    Request request;
    for (int position = 0; position < run.context - kNumGenerated; ++position)
      request.prompt_tokens.push_back(1 + (position * 7 + sequence) % 400);
    request.sampling.max_tokens = kNumGenerated;
    request.sampling.ignore_eos = true;
    engine.submit(std::move(request), [](const TokenEvent& event) {
      if (event.finish_reason) {
        EXPECT_EQ(*event.finish_reason, FinishReason::kLength);
      }
    });
  }
  engine.drain();
}

TEST_P(Plan, is_within_five_percent_of_what_the_run_takes) {
  const auto& run = GetParam();
  const std::string options = " --dtype " + std::string(run.dtype) + " --threads 2 --context " +
                              std::to_string(run.context) + " --batch " +
                              std::to_string(run.batch) +
                              (run.draft == nullptr ? "" : " --draft " + std::string(run.draft));
  const json plan =
      json::parse(run_iol("plan " + std::string(run.model) + options + " --json").out);
  const auto planned = plan["total_bytes"].get<double>();
  const std::int64_t before = resident_bytes();
  EngineConfig config;
  config.model = run.model;
  config.dtype = parse_dtype(run.dtype);
  config.num_threads = 2;
  config.max_context = run.context;
  config.max_batch = run.batch;
  config.prefix_cache = false;
  if (run.draft != nullptr) {
    config.speculation = parse_draft(run.draft);
    config.speculation.depth = 2;  // so that the draft model's cache fills as well
  }
  const auto engine = Engine::create(config);
  use_everything(*engine, run);
  const EngineMemory memory = engine->memory();
  EXPECT_NEAR(static_cast<double>(memory.weights_bytes + memory.kv_cache_bytes +
                                  memory.activations_bytes + memory.draft_model_bytes) /
                  planned,
              1, 0.05);
  // And it is what the process takes, beside a tokenizer and some tables.
  const auto taken = static_cast<double>(resident_bytes() - before);
  EXPECT_GT(taken, 0.95 * planned);
  EXPECT_LT(taken, 1.05 * planned + 20e6);
}

INSTANTIATE_TEST_SUITE_P(Models, Plan,
                         testing::Values(PlannedRun{"demo", "bf16", 2048, 1},
                                         PlannedRun{"demo", "f32", 512, 16},
                                         PlannedRun{"demo", "f16", 256, 64},
                                         PlannedRun{"demo", "bf16", 1024, 16, "demo-draft"}));

}  // namespace
}  // namespace iol
