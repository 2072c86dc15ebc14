// What generate, eval, plan and doctor do, as a user sees it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "tests/run_iol.h"

namespace iol {
namespace {

#ifdef IOL_SANITIZED
#define IOL_SKIP_WHERE_SANITIZED() GTEST_SKIP() << "a sanitizer takes terabytes of address space"
#else
#define IOL_SKIP_WHERE_SANITIZED() static_cast<void>(0)
#endif

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::StartsWith;

const std::string kHeldout = IOL_SOURCE_DIR "/models/heldout.txt";

TEST(Generate, streams_the_text_that_json_reports) {
  const std::string arguments = "generate demo -p 'It was a dark' -n 24 --seed 5 --temperature 0.8";
  const Outcome streamed = run_iol(arguments);
  const Outcome whole = run_iol(arguments + " --json --logprobs 2");
  ASSERT_EQ(streamed.exit_code, 0) << streamed.error;
  ASSERT_EQ(whole.exit_code, 0) << whole.error;
  const json result = json::parse(whole.out);
  EXPECT_EQ(streamed.out, result["text"].get<std::string>() + "\n");
  EXPECT_EQ(result["tokens"].size(), 24);
  EXPECT_EQ(result["logprobs"].size(), 24);
  EXPECT_EQ(result["logprobs"][0]["top"].size(), 2);
  EXPECT_EQ(result["finish_reason"], "length");
  EXPECT_GT(result["time_to_first_token_ms"], 0);
}

TEST(Generate, depends_on_the_seed_alone) {
  const std::string arguments = "generate demo -p 'The sea' -n 30 --temperature 1.2 --seed ";
  const std::string first = run_iol(arguments + "1").out;
  EXPECT_EQ(run_iol(arguments + "1 --threads 1").out, first);
  EXPECT_NE(run_iol(arguments + "2").out, first);
}

TEST(Generate, works_from_another_directory) {
  EXPECT_EQ(run_iol("generate demo -p x -n 3", "cd / &&").exit_code, 0);
}

TEST(Generate, stops_at_ctrl_c_with_exit_code_130) {
  // `timeout` sends the signal that a terminal would; only a clean end prints the newline.
  const Outcome outcome = run_iol("generate demo -p 'The sea' -n 1900 --ignore-eos",
                                  "timeout --preserve-status -s INT 0.5");
  EXPECT_EQ(outcome.exit_code, 130);
  EXPECT_EQ(outcome.error, "");
  EXPECT_THAT(outcome.out, testing::EndsWith("\n"));
}

TEST(Generate, refuses_before_allocating_what_does_not_fit) {
  IOL_SKIP_WHERE_SANITIZED();
  const Outcome outcome = run_iol("generate synthetic:llama-3.1-8b -p x", "ulimit -v 4000000;");
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.error, HasSubstr("'iol plan' shows what fits"));
  EXPECT_EQ(std::count(outcome.error.begin(), outcome.error.end(), '\n'), 1) << outcome.error;
}

TEST(Generate, survives_a_reader_that_goes_away) {
  const Outcome outcome = run_iol("generate demo -p 'The sea' -n 400 | head -c 5");
  EXPECT_EQ(outcome.out.size(), 5);
}

TEST(Eval, loss_is_that_of_transformers) {
  const json golden = json::parse(std::ifstream(IOL_SOURCE_DIR "/tests/goldens/loss.json"));
  const Outcome outcome = run_iol("eval demo --text " + kHeldout + " --json --max-tokens 20480");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.error;
  const json result = json::parse(outcome.out);
  EXPECT_EQ(result["windows"], golden["windows"]);
  EXPECT_EQ(result["scored_tokens"], golden["scored_tokens"]);
  EXPECT_NEAR(result["loss_nats"].get<double>(), golden["loss_nats"].get<double>(), 0.002);
}

TEST(Eval, takes_the_text_that_comes_with_the_program_unless_one_is_named) {
  const json result = json::parse(run_iol("eval demo --json --max-tokens 512").out);
  const json named =
      json::parse(run_iol("eval demo --text " + kHeldout + " --json --max-tokens 512").out);
  EXPECT_EQ(result["text"].get<std::string>(), kHeldout);
  EXPECT_EQ(result["loss_nats"], named["loss_nats"]);
}

TEST(Eval, a_model_agrees_with_itself) {
  const Outcome outcome =
      run_iol("eval demo --text " + kHeldout + " --json --max-tokens 4096 --reference demo");
  const json result = json::parse(outcome.out);
  EXPECT_EQ(result["kl_divergence_nats"], 0);
  EXPECT_EQ(result["top1_agreement"], 1);
}

TEST(Eval, a_quantized_cache_differs_a_little_from_a_reference_that_is_not) {
  const Outcome outcome = run_iol("eval demo --text " + kHeldout +
                                  " --json --max-tokens 2048 --kv-cache int8 --reference demo");
  const json result = json::parse(outcome.out);
  EXPECT_EQ(result["kv_cache"], "int8");
  EXPECT_GT(result["kl_divergence_nats"], 1e-6);
  EXPECT_LT(result["kl_divergence_nats"], 1e-3);
}

TEST(Plan, counts_weights_and_cache_of_published_shapes) {
  const json result = json::parse(
      run_iol("plan synthetic:tinyllama-1.1b --dtype bf16 --context 2048 --batch 4 --json").out);
  EXPECT_EQ(result["weights_bytes"], 2 * 1'100'048'384LL - 2 * 45 * 2048LL);  // norms are f32
  EXPECT_EQ(result["kv_bytes_per_token"], 2 * 22 * 4 * 64 * 2);
  EXPECT_EQ(result["kv_cache_bytes"], 4 * 2048 * 22528LL);
}

TEST(Plan, counts_the_scales_of_a_quantized_cache) {
  for (const std::string format : {"int8", "fp8"}) {
    const json result = json::parse(run_iol("plan synthetic:tinyllama-1.1b --context 2048 --json "
                                            "--batch 4 --kv-cache " +
                                            format)
                                        .out);
    EXPECT_EQ(result["kv_cache"], format);
    EXPECT_EQ(result["kv_bytes_per_token"], 2 * 22 * 4 * (64 + 4));
    EXPECT_EQ(result["kv_cache_bytes"], 4 * 2048 * 2 * 22 * 4 * (64 + 4));
  }
}

TEST(Plan, says_when_a_model_does_not_fit) {
  IOL_SKIP_WHERE_SANITIZED();
  const json result =
      json::parse(run_iol("plan synthetic:llama-3.1-8b --json", "ulimit -v 4000000;").out);
  EXPECT_EQ(result["fits"], false);
  EXPECT_EQ(result["sequences_that_fit"], 0);
}

TEST(Doctor, reports_the_machine_and_its_limits) {
  const Outcome outcome = run_iol("doctor --json");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.error;
  const json result = json::parse(outcome.out);
  EXPECT_FALSE(result["machine"]["cpu_model"].get<std::string>().empty());
  EXPECT_EQ(result["gpu"]["used"], false);
  EXPECT_GT(result["memory_available_bytes"], 100'000'000);
  for (const char* limit : {"read_bytes_per_s", "f32_flops", "int8_ops"})
    EXPECT_GT(result["limits"][limit], 1e8) << limit;
}

}  // namespace
}  // namespace iol
