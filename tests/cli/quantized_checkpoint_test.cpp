// Checkpoints that are quantized already, as MODEL of every command. They are made of what `iol
// build` wrote of the demo model, with the settings of another tool in config.json: the numbers are
// those of quantizing at load, so every token must be.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/run_iol.h"
#include "tests/temporary_folder.h"

namespace iol {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

const std::string kText = " --text " IOL_SOURCE_DIR "/models/heldout.txt";

class QuantizedCheckpoint : public testing::Test {
 protected:
  [[nodiscard]] std::string checkpoint() const { return (folder_.path() / "model").string(); }

  void make(const std::string& quant, const json& settings) const {
    const auto built = folder_.path() / "built";
    std::filesystem::remove_all(built);
    std::filesystem::remove_all(checkpoint());
    const Outcome outcome = run_iol("build demo -o " + built.string() + " --quant " + quant);
    ASSERT_EQ(outcome.exit_code, 0) << outcome.error;
    std::filesystem::create_directory(checkpoint());
    int num_weights_files = 0;
    for (const auto& entry : std::filesystem::directory_iterator(built)) {
      const auto name = entry.path().filename().string();
      if (name.ends_with(".safetensors")) {
        std::filesystem::copy(entry.path(), checkpoint() + "/model.safetensors");
        ++num_weights_files;
      } else if (name.starts_with("tokenizer")) {
        std::filesystem::copy(entry.path(), checkpoint() + "/" + name);
      }
    }
    ASSERT_EQ(num_weights_files, 1);
    json config = json::parse(std::ifstream(built / "config.json"));
    config["quantization_config"] = settings;
    std::ofstream(checkpoint() + "/config.json") << config;
  }
  TemporaryFolder folder_;
};

json compressed_tensors(const char* form, const json& inputs) {
  const char* type = std::string(form) == "float-quantized" ? "float" : "int";
  return {{"quant_method", "compressed-tensors"},
          {"format", form},
          {"ignore", {"lm_head"}},
          {"config_groups",
           {{"group_0",
             {{"targets", {"Linear"}},
              {"weights",
               {{"num_bits", 8}, {"type", type}, {"strategy", "channel"}, {"symmetric", true}}},
              {"input_activations", inputs}}}}}};
}

const json kInt8Inputs = {{"num_bits", 8}, {"type", "int"}, {"strategy", "token"}};

TEST_F(QuantizedCheckpoint, generates_what_quantizing_at_load_does) {
  const std::string arguments = " -p 'It was a dark' -n 24 --json --logprobs 3";
  const std::vector<std::pair<std::string, json>> subjects = {
      {"fp8", {{"quant_method", "fp8"}, {"activation_scheme", "dynamic"}}},
      {"int8", compressed_tensors("int-quantized", kInt8Inputs)},
      {"int8-wo", compressed_tensors("int-quantized", nullptr)}};
  for (const auto& [quant, settings] : subjects) {
    make(quant, settings);
    const Outcome outcome = run_iol("generate " + checkpoint() + arguments);
    ASSERT_EQ(outcome.exit_code, 0) << outcome.error;
    const json foreign = json::parse(outcome.out);
    const json loaded = json::parse(run_iol("generate demo" + arguments + " --quant " + quant).out);
    EXPECT_EQ(foreign["tokens"], loaded["tokens"]) << quant;
    EXPECT_EQ(foreign["logprobs"], loaded["logprobs"]) << quant;
  }
}

TEST_F(QuantizedCheckpoint, eval_and_plan_say_what_it_holds) {
  make("int8", compressed_tensors("int-quantized", kInt8Inputs));
  const Outcome outcome = run_iol("eval " + checkpoint() + kText +
                                  " --reference demo --max-tokens 2048 --window 512 --json");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.error;
  const json result = json::parse(outcome.out);
  EXPECT_EQ(result["quant"], "int8");
  EXPECT_GT(result["kl_divergence_nats"], 1e-6);
  EXPECT_LT(result["kl_divergence_nats"], 0.01);
  const json plan = json::parse(run_iol("plan " + checkpoint() + " --json").out);
  const json of_demo = json::parse(run_iol("plan demo --quant int8 --json").out);
  EXPECT_EQ(plan["quant"], "int8");
  EXPECT_EQ(plan["weights_bytes"], of_demo["weights_bytes"]);
}

TEST_F(QuantizedCheckpoint, another_quantization_is_refused_in_one_line) {
  make("fp8", {{"quant_method", "fp8"}});
  EXPECT_EQ(run_iol("plan " + checkpoint() + " --quant fp8").exit_code, 0);
  for (const std::string command : {"plan ", "generate -p a "}) {
    for (const char* options :
         {" --quant int8", " --quant none", " --quant fp8 --quant-keep down"}) {
      const Outcome outcome = run_iol(command + checkpoint() + options);
      EXPECT_EQ(outcome.exit_code, 2);
      EXPECT_THAT(outcome.error, HasSubstr("holds fp8 weights"));
      EXPECT_EQ(std::count(outcome.error.begin(), outcome.error.end(), '\n'), 1);
    }
  }
  const Outcome table = run_iol("eval " + checkpoint() + kText + " --formats all");
  EXPECT_EQ(table.exit_code, 2);
  EXPECT_THAT(table.error, HasSubstr("is quantized already"));
}

TEST_F(QuantizedCheckpoint, bench_runs_it_without_the_pytorch_baseline) {
  make("int8-wo", compressed_tensors("int-quantized", nullptr));
  const std::string results = (folder_.path() / "results").string();
  const Outcome outcome = run_iol("bench " + checkpoint() +
                                  " --scenario latency --requests 1 --repeat 2 --input-tokens 8 "
                                  "--output-tokens 4 --json -o " +
                                  results);
  ASSERT_EQ(outcome.exit_code, 0) << outcome.error;
  EXPECT_THAT(outcome.error, HasSubstr("a quantized checkpoint, which PyTorch can't load"));
  const json summary = json::parse(outcome.out);
  ASSERT_EQ(summary.at("qualities").size(), 1);
  EXPECT_GT(summary["qualities"][0].at("perplexity"), 1);
  EXPECT_TRUE(summary["qualities"][0].at("reference_model").is_null());
  ASSERT_EQ(summary.at("subjects").size(), 1);
  EXPECT_THAT(summary["subjects"][0].dump(), HasSubstr("int8-wo"));
}

TEST_F(QuantizedCheckpoint, builds_an_engine_directory_of_the_same_numbers) {
  make("int8", compressed_tensors("int-quantized", kInt8Inputs));
  const std::string rebuilt = (folder_.path() / "rebuilt").string();
  const Outcome outcome = run_iol("build " + checkpoint() + " -o " + rebuilt);
  ASSERT_EQ(outcome.exit_code, 0) << outcome.error;
  const std::string arguments = " -p 'It was a dark' -n 16 --json";
  EXPECT_EQ(json::parse(run_iol("generate " + rebuilt + arguments).out)["tokens"],
            json::parse(run_iol("generate " + checkpoint() + arguments).out)["tokens"]);
}

}  // namespace
}  // namespace iol
