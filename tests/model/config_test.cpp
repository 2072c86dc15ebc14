// What config.json and generation_config.json of each family mean.
#include "model/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "tests/message_of.h"
#include "tests/temporary_folder.h"

namespace iol::test {
namespace {

using nlohmann::json;
using testing::Each;
using testing::ElementsAre;
using Windows = std::vector<std::optional<int>>;

const std::string kGoldens = std::string(IOL_SOURCE_DIR) + "/tests/goldens/models/";

/// The fields that have no default.
json minimal(const std::string& architecture) {
  return {{"architectures", {architecture}}, {"num_hidden_layers", 3},    {"hidden_size", 128},
          {"intermediate_size", 256},        {"num_attention_heads", 64}, {"vocab_size", 1000}};
}

ModelConfig parse(const json& fields, const std::string& generation = "") {
  return parse_model_config(fields.dump(), generation, "folder");
}

ModelConfig parse_with(const std::string& architecture, const json& more) {
  json fields = minimal(architecture);
  fields.update(more);
  return parse(fields);
}

TEST(Config, LlamaDefaultsAreThoseOfTransformers) {
  const ModelConfig config = parse(minimal("LlamaForCausalLM"));
  EXPECT_EQ(config.architecture, "LlamaForCausalLM");
  EXPECT_EQ(config.num_layers, 3);
  EXPECT_EQ(config.hidden_size, 128);
  EXPECT_EQ(config.intermediate_size, 256);
  EXPECT_EQ(config.num_heads, 64);
  EXPECT_EQ(config.num_kv_heads, 64);
  EXPECT_EQ(config.head_dim, 2);
  EXPECT_EQ(config.vocab_size, 1000);
  EXPECT_EQ(config.max_position_embeddings, 2048);
  EXPECT_EQ(config.rms_norm_eps, 1e-6);
  EXPECT_EQ(config.rope.type, RopeConfig::Type::kDefault);
  EXPECT_EQ(config.rope.theta, 10000.0);
  EXPECT_FALSE(config.qkv_bias || config.output_bias || config.mlp_bias || config.qk_norm);
  EXPECT_FALSE(config.tie_word_embeddings);
  EXPECT_EQ(config.sliding_window, Windows(3));
  EXPECT_EQ(config.dtype, DType::kF32);
  EXPECT_FALSE(config.bos_token_id.has_value());
  EXPECT_TRUE(config.eos_token_ids.empty());
}

TEST(Config, MistralDefaultsAreThoseOfTransformers) {
  const ModelConfig config = parse(minimal("MistralForCausalLM"));
  EXPECT_EQ(config.num_kv_heads, 8);
  EXPECT_EQ(config.head_dim, 2);
  EXPECT_EQ(config.max_position_embeddings, 131072);
  EXPECT_EQ(config.rms_norm_eps, 1e-6);
  EXPECT_EQ(config.sliding_window, Windows(3, 4096));
  EXPECT_FALSE(config.qkv_bias || config.output_bias || config.mlp_bias || config.qk_norm);
}

TEST(Config, Qwen2DefaultsAreThoseOfTransformers) {
  const ModelConfig config = parse(minimal("Qwen2ForCausalLM"));
  EXPECT_EQ(config.num_kv_heads, 32);
  EXPECT_EQ(config.head_dim, 2);
  EXPECT_EQ(config.max_position_embeddings, 32768);
  EXPECT_TRUE(config.qkv_bias);
  EXPECT_FALSE(config.output_bias || config.mlp_bias || config.qk_norm);
  EXPECT_EQ(config.sliding_window, Windows(3));
}

TEST(Config, Qwen3DefaultsAreThoseOfTransformers) {
  const ModelConfig config = parse(minimal("Qwen3ForCausalLM"));
  EXPECT_EQ(config.num_kv_heads, 32);
  EXPECT_EQ(config.head_dim, 128);
  EXPECT_EQ(config.max_position_embeddings, 32768);
  EXPECT_TRUE(config.qk_norm);
  EXPECT_FALSE(config.qkv_bias || config.output_bias || config.mlp_bias);
  EXPECT_EQ(config.sliding_window, Windows(3));
}

TEST(Config, NullKeyValueHeadsMeanOnePerQueryHeadInEveryFamily) {
  for (const auto* name :
       {"LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"}) {
    EXPECT_EQ(parse_with(name, {{"num_key_value_heads", nullptr}}).num_kv_heads, 64) << name;
    EXPECT_EQ(parse_with(name, {{"num_key_value_heads", 4}}).num_kv_heads, 4) << name;
  }
}

TEST(Config, BiasesFollowTheFamily) {
  const json both = {{"attention_bias", true}, {"mlp_bias", true}};
  const auto biases = [&](const char* name) {
    const ModelConfig config = parse_with(name, both);
    return std::array{config.qkv_bias, config.output_bias, config.mlp_bias};
  };
  EXPECT_THAT(biases("LlamaForCausalLM"), ElementsAre(true, true, true));
  EXPECT_THAT(biases("MistralForCausalLM"), ElementsAre(false, false, false));
  EXPECT_THAT(biases("Qwen2ForCausalLM"), ElementsAre(true, false, false));
  EXPECT_THAT(biases("Qwen3ForCausalLM"), ElementsAre(true, true, false));
}

TEST(Config, MistralWindowIsOnEveryLayerAndNullMeansNone) {
  EXPECT_EQ(parse_with("MistralForCausalLM", {{"sliding_window", 24}}).sliding_window,
            Windows(3, 24));
  EXPECT_EQ(parse_with("MistralForCausalLM", {{"sliding_window", nullptr}}).sliding_window,
            Windows(3));
  EXPECT_EQ(parse_with("LlamaForCausalLM", {{"sliding_window", 24}}).sliding_window, Windows(3));
}

TEST(Config, QwenWindowIsOnTheUpperLayersWhenItIsSwitchedOn) {
  for (const auto* name : {"Qwen2ForCausalLM", "Qwen3ForCausalLM"}) {
    json fields = {{"sliding_window", 20}, {"max_window_layers", 1}};
    EXPECT_EQ(parse_with(name, fields).sliding_window, Windows(3)) << name;
    fields["use_sliding_window"] = true;
    EXPECT_EQ(parse_with(name, fields).sliding_window, (Windows{{}, 20, 20})) << name;
    fields["max_window_layers"] = 3;
    EXPECT_EQ(parse_with(name, fields).sliding_window, Windows(3)) << name;
    fields["max_window_layers"] = 0;
    fields.erase("sliding_window");
    EXPECT_EQ(parse_with(name, fields).sliding_window, Windows(3, 4096)) << name;
    fields.erase("max_window_layers");  // 28 by default: above all three layers
    EXPECT_EQ(parse_with(name, fields).sliding_window, Windows(3)) << name;
    fields["layer_types"] = {"sliding_attention", "full_attention", "sliding_attention"};
    EXPECT_EQ(parse_with(name, fields).sliding_window, (Windows{4096, {}, 4096})) << name;
  }
}

TEST(Config, OldRopeFormGivesThetaAndScaling) {
  const ModelConfig config =
      parse_with("LlamaForCausalLM", {{"rope_theta", 500000.0},
                                      {"rope_scaling",
                                       {{"rope_type", "llama3"},
                                        {"factor", 8.0},
                                        {"low_freq_factor", 2.0},
                                        {"high_freq_factor", 5.0},
                                        {"original_max_position_embeddings", 8192}}}});
  EXPECT_EQ(config.rope.type, RopeConfig::Type::kLlama3);
  EXPECT_EQ(config.rope.theta, 500000.0);
  EXPECT_EQ(config.rope.factor, 8.0);
  EXPECT_EQ(config.rope.low_freq_factor, 2.0);
  EXPECT_EQ(config.rope.high_freq_factor, 5.0);
  EXPECT_EQ(config.rope.original_max_position_embeddings, 8192);
  const ModelConfig linear =
      parse_with("LlamaForCausalLM", {{"rope_scaling", {{"type", "linear"}, {"factor", 4}}}});
  EXPECT_EQ(linear.rope.type, RopeConfig::Type::kLinear);
  EXPECT_EQ(linear.rope.factor, 4.0);
  EXPECT_EQ(linear.rope.theta, 10000.0);
}

TEST(Config, NewRopeFormGivesThetaAndScaling) {
  const ModelConfig config =
      parse_with("Qwen3ForCausalLM", {{"rope_theta", 1.0},
                                      {"rope_parameters",
                                       {{"rope_type", "yarn"},
                                        {"rope_theta", 1000000},
                                        {"factor", 4.0},
                                        {"beta_fast", 16},
                                        {"beta_slow", 2},
                                        {"truncate", false},
                                        {"attention_factor", 0.5},
                                        {"original_max_position_embeddings", 32768}}}});
  EXPECT_EQ(config.rope.type, RopeConfig::Type::kYarn);
  EXPECT_EQ(config.rope.theta, 1000000.0);
  EXPECT_EQ(config.rope.factor, 4.0);
  EXPECT_EQ(config.rope.beta_fast, 16.0);
  EXPECT_EQ(config.rope.beta_slow, 2.0);
  EXPECT_FALSE(config.rope.truncate);
  EXPECT_EQ(config.rope.attention_factor, 0.5);
  EXPECT_EQ(config.rope.original_max_position_embeddings, 32768);
}

TEST(Config, EmptyOrNullRopeObjectsMeanTheDefaultForm) {
  for (const json& empty : {json(nullptr), json::object()}) {
    const ModelConfig config =
        parse_with("LlamaForCausalLM",
                   {{"rope_theta", 7.0}, {"rope_scaling", empty}, {"rope_parameters", empty}});
    EXPECT_EQ(config.rope.type, RopeConfig::Type::kDefault);
    EXPECT_EQ(config.rope.theta, 7.0);
  }
  const ModelConfig config = parse_with(
      "LlamaForCausalLM",
      {{"rope_scaling", json::object()},
       {"rope_parameters", {{"rope_type", "linear"}, {"factor", 2}, {"rope_theta", 5}}}});
  EXPECT_EQ(config.rope.type, RopeConfig::Type::kLinear);
  EXPECT_EQ(config.rope.theta, 5.0);
}

TEST(Config, DtypeIsReadFromEitherField) {
  const auto dtype = [](const json& more) { return parse_with("LlamaForCausalLM", more).dtype; };
  EXPECT_EQ(dtype({{"torch_dtype", "bfloat16"}}), DType::kBF16);
  EXPECT_EQ(dtype({{"dtype", "float16"}}), DType::kF16);
  EXPECT_EQ(dtype({{"dtype", "float32"}, {"torch_dtype", "float16"}}), DType::kF32);
  EXPECT_EQ(dtype({{"dtype", nullptr}, {"torch_dtype", "torch.float16"}}), DType::kF16);
}

TEST(Config, SpecialTokensOfTheGenerationConfigWin) {
  json fields = minimal("LlamaForCausalLM");
  fields["bos_token_id"] = 1;
  fields["eos_token_id"] = 2;
  EXPECT_EQ(parse(fields).bos_token_id, 1);
  EXPECT_THAT(parse(fields).eos_token_ids, ElementsAre(2));
  const ModelConfig config = parse(fields, R"({"eos_token_id": [5, 6], "bos_token_id": null})");
  EXPECT_EQ(config.bos_token_id, 1);
  EXPECT_THAT(config.eos_token_ids, ElementsAre(5, 6));
}

TEST(Config, GenerationConfigIsReadFromTheFolderWhenItIsThere) {
  const TemporaryFolder folder;
  json fields = minimal("LlamaForCausalLM");
  fields["eos_token_id"] = 2;
  folder.write("config.json", fields.dump());
  EXPECT_THAT(load_model_config(folder.path()).eos_token_ids, ElementsAre(2));
  folder.write("generation_config.json", R"({"eos_token_id": 7})");
  EXPECT_THAT(load_model_config(folder.path()).eos_token_ids, ElementsAre(7));
  folder.write("generation_config.json", "{");
  const auto message = message_of<InputError>([&] { load_model_config(folder.path()); });
  EXPECT_THAT(message, testing::HasSubstr((folder.path() / "generation_config.json").string()));
}

struct Golden {
  const char* folder;
  const char* architecture;
  RopeConfig::Type rope;
  double theta;
  DType dtype;
  Windows windows;
};

TEST(Config, FilesThatTransformersWroteAreUnderstood) {
  using Type = RopeConfig::Type;
  const Windows none(2);
  const std::vector<Golden> goldens = {
      {"llama", "LlamaForCausalLM", Type::kDefault, 1e4, DType::kF32, none},
      {"llama-new-form", "LlamaForCausalLM", Type::kDefault, 5e5, DType::kF32, none},
      {"llama-tied", "LlamaForCausalLM", Type::kDefault, 1e4, DType::kF32, none},
      {"llama-biases", "LlamaForCausalLM", Type::kDefault, 1e4, DType::kF32, none},
      {"llama-rope-llama3", "LlamaForCausalLM", Type::kLlama3, 1e4, DType::kF32, none},
      {"llama-rope-linear", "LlamaForCausalLM", Type::kLinear, 1e4, DType::kF32, none},
      {"llama-rope-dynamic", "LlamaForCausalLM", Type::kDynamic, 1e4, DType::kF32, none},
      {"llama-rope-yarn", "LlamaForCausalLM", Type::kYarn, 1e4, DType::kF32, none},
      {"mistral-window", "MistralForCausalLM", Type::kDefault, 1e4, DType::kF32, {24, 24}},
      {"qwen2", "Qwen2ForCausalLM", Type::kDefault, 1e4, DType::kF32, none},
      {"qwen2-window", "Qwen2ForCausalLM", Type::kDefault, 1e4, DType::kF32, {{}, 20}},
      {"qwen3", "Qwen3ForCausalLM", Type::kDefault, 1e4, DType::kF32, none},
      {"llama-bf16", "LlamaForCausalLM", Type::kDefault, 1e4, DType::kBF16, none},
      {"llama-f16-sharded", "LlamaForCausalLM", Type::kDefault, 1e4, DType::kF16, none},
  };
  for (const auto& golden : goldens) {
    SCOPED_TRACE(golden.folder);
    const ModelConfig config = load_model_config(kGoldens + golden.folder);
    EXPECT_EQ(config.architecture, golden.architecture);
    EXPECT_EQ(config.rope.type, golden.rope);
    EXPECT_EQ(config.rope.theta, golden.theta);
    EXPECT_EQ(config.dtype, golden.dtype);
    EXPECT_EQ(config.sliding_window, golden.windows);
    EXPECT_EQ(config.num_layers, 2);
    EXPECT_EQ(config.hidden_size, 32);
    EXPECT_EQ(config.num_kv_heads, 2);
    EXPECT_EQ(config.head_dim, golden.architecture == std::string("Qwen3ForCausalLM") ? 32 : 16);
    EXPECT_EQ(config.vocab_size, 128);
    EXPECT_EQ(config.bos_token_id, 1);
    EXPECT_THAT(config.eos_token_ids, ElementsAre(2));
  }
  EXPECT_TRUE(load_model_config(kGoldens + "llama-tied").tie_word_embeddings);
  const ModelConfig biased = load_model_config(kGoldens + "llama-biases");
  EXPECT_TRUE(biased.qkv_bias && biased.output_bias && biased.mlp_bias);
}

}  // namespace
}  // namespace iol::test
