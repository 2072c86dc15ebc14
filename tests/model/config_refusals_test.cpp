// Every config.json that can't be meant is refused with one line: the file, the field, its value.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "model/config.h"
#include "tests/message_of.h"
#include "tests/temporary_folder.h"

namespace iol::test {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

json valid(const std::string& architecture = "LlamaForCausalLM") {
  return {{"architectures", {architecture}},
          {"num_hidden_layers", 3},
          {"hidden_size", 128},
          {"intermediate_size", 256},
          {"num_attention_heads", 8},
          {"num_key_value_heads", 4},
          {"vocab_size", 1000}};
}

std::string refusal(const std::string& text, const std::string& generation = "") {
  return message_of<InputError>([&] { parse_model_config(text, generation, "folder"); });
}

/// A field with a value that must be refused, and what else the message says.
struct Bad {
  std::string field;
  json value;
  std::string expected;
};

void expect_refused(json fields, const Bad& bad) {
  SCOPED_TRACE(bad.field + " = " + bad.value.dump());
  fields[bad.field] = bad.value;
  const std::string message = refusal(fields.dump());
  EXPECT_THAT(message, HasSubstr("folder/config.json: "));
  EXPECT_THAT(message, HasSubstr("'" + bad.field + "' is " + bad.value.dump() + "; expected "));
  EXPECT_THAT(message, HasSubstr(bad.expected));
  EXPECT_THAT(message, Not(HasSubstr("\n")));
}

TEST(ConfigRefusals, TheValidConfigIsAccepted) {
  EXPECT_NO_THROW(parse_model_config(valid().dump(), {}, "folder"));
}

TEST(ConfigRefusals, MissingSizesAreNamed) {
  for (const auto* name : {"num_hidden_layers", "hidden_size", "intermediate_size",
                           "num_attention_heads", "vocab_size", "architectures"}) {
    json fields = valid();
    fields.erase(name);
    const std::string expected = std::string("folder/config.json: '") + name + "' is missing";
    EXPECT_THAT(refusal(fields.dump()), HasSubstr(expected));
    fields[name] = nullptr;
    EXPECT_THAT(refusal(fields.dump()), HasSubstr(expected));
  }
}

TEST(ConfigRefusals, SizesMustBeIntegersInRange) {
  for (const auto* name :
       {"num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads",
        "vocab_size", "num_key_value_heads", "head_dim", "max_position_embeddings"}) {
    for (const json& value :
         {json(0), json(-1), json(1.5), json(4.0), json("4"), json(true), json::array({4}),
          json::object(), json(std::int64_t{1} << 40), json(~std::uint64_t{0}), json(1e300)}) {
      expect_refused(valid(), {name, value, "an integer from 1 to "});
    }
  }
}

TEST(ConfigRefusals, WindowFieldsMustBeIntegersInRange) {
  for (const json& value : {json(0), json(-4), json(0.5), json("4096"), json(1e18)}) {
    expect_refused(valid("MistralForCausalLM"), {"sliding_window", value, "an integer from 1"});
    expect_refused(valid("Qwen2ForCausalLM"), {"sliding_window", value, "an integer from 1"});
  }
  for (const json& value : {json(-1), json("all"), json(1e9)}) {
    expect_refused(valid("Qwen3ForCausalLM"), {"max_window_layers", value, "an integer from 0"});
  }
  expect_refused(valid("Qwen3ForCausalLM"), {"use_sliding_window", "yes", "true or false"});
}

TEST(ConfigRefusals, LayerTypesMustBeKnownAndOnePerLayer) {
  const json two = {"full_attention", "full_attention"};
  expect_refused(valid("Qwen2ForCausalLM"), {"layer_types", two, "3 entries, one per layer"});
  const json foreign = {"linear_attention", "x", "x"};
  expect_refused(valid("Qwen2ForCausalLM"), {"layer_types", foreign, "full_attention"});
  expect_refused(valid("Qwen2ForCausalLM"), {"layer_types", "full_attention", "list of strings"});
  const json numbers = {1, 2, 3};
  expect_refused(valid("Qwen2ForCausalLM"), {"layer_types", numbers, "list of strings"});
}

TEST(ConfigRefusals, FlagsAndNumbersMustHaveTheirType) {
  for (const auto* name : {"attention_bias", "mlp_bias", "tie_word_embeddings"}) {
    expect_refused(valid(), {name, 1, "true or false"});
    expect_refused(valid(), {name, "true", "true or false"});
  }
  for (const json& value : {json(-1e-6), json(2), json("1e-6"), json(false)})
    expect_refused(valid(), {"rms_norm_eps", value, "a number from 0 to 1"});
  for (const json& value : {json(0), json(-10000.0), json(1e30), json("10000")})
    expect_refused(valid(), {"rope_theta", value, "a number from "});
}

TEST(ConfigRefusals, UnsupportedVariantsAreNamed) {
  expect_refused(valid(), {"hidden_act", "gelu", "silu"});
  expect_refused(valid(), {"hidden_act", 3, "a string"});
  expect_refused(valid(), {"partial_rotary_factor", 0.5, "all dimensions are rotated"});
  for (const auto* name : {"dtype", "torch_dtype"}) {
    for (const auto* value : {"float64", "float8_e4m3fn", "int8", "half a float", ""})
      expect_refused(valid(), {name, value, "float32, float16 or bfloat16"});
    expect_refused(valid(), {name, 16, "a string"});
  }
}

TEST(ConfigRefusals, QuantizedCheckpointsHaveAConfigurationLikeOthers) {
  json fields = valid();
  fields["quantization_config"] = {{"quant_method", "gptq"}, {"bits", 4}};
  EXPECT_EQ(parse_model_config(fields.dump(), {}, "folder").architecture,
            parse_model_config(valid().dump(), {}, "folder").architecture);
}

TEST(ConfigRefusals, UnknownArchitecturesAreRefusedWithTheKnownOnes) {
  const std::string message = refusal(valid("GPT2LMHeadModel").dump());
  EXPECT_THAT(message, HasSubstr("folder/config.json: architecture 'GPT2LMHeadModel' is not"));
  for (const auto* name :
       {"LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"}) {
    EXPECT_THAT(message, HasSubstr(name));
  }
  expect_refused(valid(), {"architectures", json::array(), "a list with one name"});
  expect_refused(valid(), {"architectures", "LlamaForCausalLM", "a list of strings"});
  expect_refused(valid(), {"architectures", json::array({7}), "a list of strings"});
}

TEST(ConfigRefusals, ContradictorySizesAreRefused) {
  expect_refused(valid(), {"num_key_value_heads", 3, "a divisor of the 8 attention heads"});
  expect_refused(valid(), {"num_key_value_heads", 16, "a divisor of the 8 attention heads"});
  expect_refused(valid(), {"hidden_size", 129, "a multiple of the 8 attention heads"});
  json fields = valid();
  fields["head_dim"] = 7;
  EXPECT_THAT(refusal(fields.dump()), HasSubstr("folder/config.json: head_dim 7 is odd"));
  fields["head_dim"] = 1 << 20;
  EXPECT_THAT(refusal(fields.dump()), HasSubstr("'num_attention_heads' is 8; expected at most 1"));
}

void expect_rope_refused(const json& rope, const std::string& field, const std::string& shown) {
  SCOPED_TRACE(rope.dump());
  for (const std::string form : {"rope_scaling", "rope_parameters"}) {
    json fields = valid();
    fields[form] = rope;
    const std::string message = refusal(fields.dump());
    EXPECT_THAT(message, HasSubstr("folder/config.json: '" + form + "." + field + "' is " + shown +
                                   "; expected "));
  }
}

TEST(ConfigRefusals, UnknownOrBrokenRopeFormsAreRefused) {
  expect_rope_refused({{"rope_type", "longrope"}, {"factor", 2}}, "rope_type", "\"longrope\"");
  expect_rope_refused({{"type", "su"}, {"factor", 2}}, "type", "\"su\"");
  expect_rope_refused({{"rope_type", 3}}, "rope_type", "3");
  for (const auto* type : {"linear", "dynamic", "llama3", "yarn"}) {
    expect_rope_refused({{"rope_type", type}}, "factor", "missing");
    expect_rope_refused({{"rope_type", type}, {"factor", 0}}, "factor", "0");
    expect_rope_refused({{"rope_type", type}, {"factor", -2.0}}, "factor", "-2.0");
    expect_rope_refused({{"rope_type", type}, {"factor", "8"}}, "factor", "\"8\"");
    expect_rope_refused(
        {{"rope_type", type}, {"factor", 2}, {"original_max_position_embeddings", 0}},
        "original_max_position_embeddings", "0");
    expect_rope_refused({{"rope_type", type}, {"rope_theta", -1}}, "rope_theta", "-1");
  }
  expect_rope_refused({{"rope_type", "default"}, {"partial_rotary_factor", 0.25}},
                      "partial_rotary_factor", "0.25");
  json fields = valid();
  fields["rope_scaling"] = "linear";
  EXPECT_THAT(refusal(fields.dump()),
              HasSubstr("'rope_scaling' is \"linear\"; expected an object"));
}

TEST(ConfigRefusals, Llama3AndYarnParametersAreChecked) {
  json llama3 = {{"rope_type", "llama3"}, {"factor", 8}};
  expect_rope_refused(llama3, "original_max_position_embeddings", "missing");
  llama3["original_max_position_embeddings"] = 8192;
  llama3["low_freq_factor"] = 4;
  llama3["high_freq_factor"] = 4;
  expect_rope_refused(llama3, "high_freq_factor", "4");
  llama3["low_freq_factor"] = -1;
  expect_rope_refused(llama3, "low_freq_factor", "-1");
  for (const auto* name : {"beta_fast", "beta_slow", "attention_factor"}) {
    const json yarn = {{"rope_type", "yarn"}, {"factor", 8}, {name, -1}};
    expect_rope_refused(yarn, name, "-1");
  }
  for (const auto* name : {"mscale", "mscale_all_dim"}) {
    const json yarn = {{"rope_type", "yarn"}, {"factor", 8}, {name, 1}};
    expect_rope_refused(yarn, name, "1");
  }
  expect_rope_refused({{"rope_type", "yarn"}, {"factor", 8}, {"truncate", 1}}, "truncate", "1");
}

TEST(ConfigRefusals, TokenIdsMustBeIds) {
  for (const json& value :
       {json(-1), json(1.5), json("2"), json(std::int64_t{1} << 31), json(~std::uint64_t{0}),
        json::array({1, -2}), json::array({nullptr})}) {
    expect_refused(valid(), {"eos_token_id", value, "a token id or a list of them"});
    expect_refused(valid(), {"bos_token_id", value, "a token id or a list of them"});
  }
  const std::string message = refusal(valid().dump(), R"({"eos_token_id": "</s>"})");
  EXPECT_THAT(message, HasSubstr("folder/generation_config.json: 'eos_token_id' is \"</s>\""));
}

TEST(ConfigRefusals, WhatIsNoJsonObjectIsRefused) {
  for (const std::string text : {"", "{", "[]", "null", "7", "\"text\"", "{\"a\": 1e999}",
                                 "{'a': 1}", "{\"a\": \"\xff\"}", "\xef\xbb\xbf", "{} {}"}) {
    EXPECT_THAT(refusal(text), HasSubstr("folder/config.json: not a JSON object")) << text;
    if (text.empty()) continue;  // no generation_config.json
    EXPECT_THAT(refusal(valid().dump(), text),
                HasSubstr("folder/generation_config.json: not a JSON object"));
  }
}

TEST(ConfigRefusals, EveryTruncationIsRefused) {
  const std::string text = valid().dump();
  for (std::size_t length = 0; length < text.size(); ++length)
    EXPECT_THAT(refusal(text.substr(0, length)), HasSubstr("truncated")) << length;
}

TEST(ConfigRefusals, BitFlipsGiveAConfigOrAnInputError) {
  const std::string text = valid().dump();
  for (std::size_t bit = 0; bit < text.size() * 8; ++bit) {
    std::string flipped = text;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    try {
      const ModelConfig config = parse_model_config(flipped, {}, "folder");
      EXPECT_GT(num_parameters(config), 0);
    } catch (const InputError&) {
    }
  }
}

TEST(ConfigRefusals, LongAndDeepValuesAreShownShortened) {
  json fields = valid();
  fields["hidden_size"] = std::string(100'000, 'x');
  EXPECT_LT(refusal(fields.dump()).size(), 200U);
  // Deep enough to overflow the stack of anything that recurses.
  const std::string deep = std::string(1'000'000, '[') + std::string(1'000'000, ']');
  const std::string message = refusal(R"({"architectures": )" + deep + "}");
  EXPECT_THAT(message, HasSubstr("'architectures' is "));
  EXPECT_LT(message.size(), 200U);
}

TEST(ConfigRefusals, ControlCharactersOfTheFileStayOutOfTheMessage) {
  const std::string message = refusal(valid("Llama\n\x1b[31mForCausalLM").dump());
  EXPECT_THAT(message, Not(HasSubstr("\n")));
  EXPECT_THAT(message, Not(HasSubstr("\x1b")));
  EXPECT_LT(refusal(valid(std::string(100'000, 'x')).dump()).size(), 300U);
}

TEST(ConfigRefusals, FoldersWithoutConfigAreRefused) {
  const TemporaryFolder folder;
  const auto message = message_of<InputError>([&] { load_model_config(folder.path()); });
  EXPECT_THAT(message, HasSubstr("'" + folder.path().string() + "' has no config.json"));
  folder.write("config.json", "");
  const auto empty = message_of<InputError>([&] { load_model_config(folder.path()); });
  EXPECT_THAT(empty, HasSubstr((folder.path() / "config.json").string() + ": not a JSON object"));
}

}  // namespace
}  // namespace iol::test
