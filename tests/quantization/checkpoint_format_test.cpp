// Settings of quantized checkpoints: what is accepted, and one line for what is not, naming the
// file, the method, the field and what to do.
#include "quantization/checkpoint_format.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "base/error.h"
#include "tests/message_of.h"
#include "tests/quantization/edited_checkpoint.h"

namespace iol::test {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

const char* const kAccepted = "(nothing was thrown)";

json settings_of(const std::string& golden) {
  return json::parse(std::ifstream(kQuantizedGoldens / golden / "config.json"))
      .at("quantization_config");
}

std::string error_of(const json& settings) {
  const std::string config = json{{"quantization_config", settings}}.dump();
  return message_of<InputError>([&] { parse_checkpoint_format(config, {}, "folder"); });
}

struct BadSetting {
  std::string name;
  std::string golden;
  std::string field;  // a JSON pointer
  json value;         // discarded: the field is taken out
  std::vector<std::string> says;
};

const json kAbsent(json::value_t::discarded);
const std::string kWeights = "/config_groups/group_0/weights/";
const std::string kInputs = "/config_groups/group_0/input_activations/";

const std::vector<BadSetting> kBadSettings = {
    {"bitsandbytes", "awq", "/quant_method", "bitsandbytes", {"quant_method", "bitsandbytes"}},
    {"mxfp4", "awq", "/quant_method", "mxfp4", {"quant_method", "compressed-tensors, awq, gptq"}},
    {"no_method", "awq", "/quant_method", kAbsent, {"quant_method", "missing"}},
    {"method_of_a_number", "awq", "/quant_method", 4, {"quant_method", "a string"}},
    {"awq_bits", "awq", "/bits", 8, {"bits", "is 8", "4 for awq"}},
    {"awq_no_bits", "awq", "/bits", kAbsent, {"bits", "missing"}},
    {"awq_gemv", "awq", "/version", "gemv", {"version", "gemv", "gemm for awq"}},
    {"awq_marlin", "awq", "/version", "marlin", {"version", "marlin"}},
    {"awq_symmetric", "awq", "/zero_point", false, {"zero_point", "true for awq"}},
    {"awq_group", "awq", "/group_size", 24, {"group_size", "is 24", "multiple of 16"}},
    {"awq_group_of_none", "awq", "/group_size", 0, {"group_size", "is 0"}},
    {"awq_no_group", "awq", "/group_size", kAbsent, {"group_size", "missing"}},
    {"gptq_2_bits", "gptq", "/bits", 2, {"bits", "is 2", "4 or 8 for gptq"}},
    {"gptq_3_bits", "gptq", "/bits", 3, {"bits", "is 3", "4 or 8 for gptq"}},
    {"gptq_8_bits_in_groups", "gptq", "/bits", 8, {"group_size", "is 32", "8 bits"}},
    {"gptq_group", "gptq", "/group_size", -2, {"group_size", "-2"}},
    {"gptq_marlin", "gptq", "/checkpoint_format", "marlin", {"checkpoint_format", "gptq_v2"}},
    {"gptq_is_marlin", "gptq", "/is_marlin_format", true, {"is_marlin_format"}},
    {"gptq_words", "gptq", "/pack_dtype", "int64", {"pack_dtype", "int32 for gptq"}},
    {"gptq_overrides", "gptq", "/dynamic", {{"+:.*down.*", {{"bits", 8}}}}, {"dynamic"}},
    {"gptq_act_order", "gptq", "/desc_act", "yes", {"desc_act", "true or false"}},
    {"fp8_blocks",
     "fp8-dynamic",
     "/weight_block_size",
     {128, 128},
     {"weight_block_size", "[128,128]", "fp8 with one scale per tensor or row"}},
    {"fp8_scheme", "fp8-dynamic", "/activation_scheme", "none", {"activation_scheme"}},
    {"fp8_form", "fp8-dynamic", "/fmt", "e5m2", {"fmt", "e4m3"}},
    {"modelopt_nvfp4",
     "modelopt-fp8-config",
     "/quant_algo",
     "NVFP4",
     {"quant_algo", "NVFP4", "FP8_PER_CHANNEL_PER_TOKEN for modelopt"}},
    {"modelopt_none", "modelopt-fp8-config", "/quant_algo", kAbsent, {"quant_algo", "missing"}},
    {"ct_nvfp4",
     "ct-fp8-dynamic",
     "/config_groups/group_0/format",
     "nvfp4-pack-quantized",
     {"compressed-tensors' format 'nvfp4-pack-quantized'"}},
    {"ct_marlin_24",
     "ct-fp8-dynamic",
     "/config_groups/group_0/format",
     "marlin-24",
     {"compressed-tensors' format 'marlin-24'"}},
    {"ct_sparse",
     "ct-fp8-dynamic",
     "/sparsity_config",
     {{"format", "sparse-24-bitmask"}},
     {"sparsity_config.format", "sparse-24-bitmask", "2:4"}},
    {"ct_transforms",
     "ct-w8a8",
     "/transform_config",
     {{"config_groups", {{"u", 1}}}},
     {"transform_config"}},
    {"ct_no_groups", "ct-w8a8", "/config_groups", kAbsent, {"config_groups", "missing"}},
    {"ct_empty_groups", "ct-w8a8", "/config_groups", json::object(), {"config_groups"}},
    {"ct_preset", "ct-w8a8", "/config_groups/group_0", {"Linear"}, {"group_0", "object"}},
    {"ct_no_targets", "ct-w8a8", "/config_groups/group_0/targets", kAbsent, {"targets", "missing"}},
    {"ct_no_weights", "ct-w8a8", "/config_groups/group_0/weights", nullptr, {"weights", "missing"}},
    {"ct_outputs",
     "ct-w8a8",
     "/config_groups/group_0/output_activations",
     {{"num_bits", 8}},
     {"output_activations"}},
    {"ct_bits", "ct-w4a16", kWeights + "num_bits", 3, {"weights.num_bits", "is 3", "4 or 8"}},
    {"ct_8_bits_in_groups", "ct-w4a16", kWeights + "num_bits", 8, {"weights.strategy", "8 bits"}},
    {"ct_8_bits_asymmetric",
     "ct-w8a16",
     kWeights + "symmetric",
     false,
     {"weights.symmetric", "true for 8 bits"}},
    {"ct_float_packed", "ct-w4a16", kWeights + "type", "float", {"weights.type", "pack-quantized"}},
    {"ct_blocks",
     "ct-fp8-dynamic",
     kWeights + "strategy",
     "block",
     {"weights.strategy", "block", "tensor, channel or group"}},
    {"ct_group_size", "ct-w4a16", kWeights + "group_size", 24, {"group_size", "multiple of 16"}},
    {"ct_fp8_in_groups",
     "ct-fp8-dynamic",
     kWeights + "strategy",
     "group",
     {"weights.strategy", "float-quantized"}},
    {"ct_fp8_weights_alone",
     "ct-fp8-dynamic",
     "/config_groups/group_0/input_activations",
     nullptr,
     {"input_activations", "missing", "float-quantized"}},
    {"ct_int8_asymmetric", "ct-w8a8", kWeights + "symmetric", false, {"weights.symmetric"}},
    {"ct_int8_asymmetric_inputs",
     "ct-w8a8",
     kInputs + "symmetric",
     false,
     {"input_activations.symmetric"}},
    {"ct_int4_inputs", "ct-w8a8", kInputs + "num_bits", 4, {"input_activations.num_bits"}},
    {"ct_float_inputs", "ct-w8a8", kInputs + "type", "float", {"input_activations.type", "int"}},
    {"ct_group_inputs", "ct-w8a8", kInputs + "strategy", "group", {"input_activations.strategy"}},
    {"ct_w4a8",
     "ct-w4a16",
     "/config_groups/group_0/input_activations",
     {{"num_bits", 8}},
     {"input_activations", "none for pack-quantized"}},
    {"ct_int_type", "ct-w8a8", kWeights + "type", "float", {"weights.type", "int-quantized"}},
    {"ct_broken_pattern", "ct-w8a8", "/ignore", {"re:((("}, {"re:(((", "ignore", "not supported"}},
    {"ct_ignore", "ct-w8a8", "/ignore", "lm_head", {"ignore", "list of strings"}},
};

class RefusedSetting : public testing::TestWithParam<BadSetting> {};

TEST_P(RefusedSetting, in_one_line_that_says_what_is_expected) {
  json settings = settings_of(GetParam().golden);
  ASSERT_EQ(error_of(settings), kAccepted);
  const json::json_pointer field(GetParam().field);
  if (GetParam().value.is_discarded()) {
    settings[field.parent_pointer()].erase(field.back());
  } else {
    settings[field] = GetParam().value;
  }
  const std::string error = error_of(settings);
  for (const auto& text : GetParam().says) EXPECT_THAT(error, HasSubstr(text));
  EXPECT_THAT(error, AllOf(HasSubstr("folder/config.json"), Not(HasSubstr("\n"))));
}

INSTANTIATE_TEST_SUITE_P(Every, RefusedSetting, testing::ValuesIn(kBadSettings),
                         [](const auto& info) { return info.param.name; });

TEST(CheckpointFormat, is_none_without_settings) {
  EXPECT_EQ(parse_checkpoint_format("{}", {}, "folder"), nullptr);
  EXPECT_EQ(parse_checkpoint_format(R"({"quantization_config": null})", {}, "folder"), nullptr);
}

TEST(CheckpointFormat, of_hf_quant_config_counts_when_config_has_none) {
  const auto parse = [](const char* config, const char* hf_quant_config) {
    return message_of<InputError>([&] { parse_checkpoint_format(config, hf_quant_config, "f"); });
  };
  EXPECT_NE(parse_checkpoint_format("{}", R"({"quantization": {"quant_algo": "FP8"}})", "f"),
            nullptr);
  EXPECT_THAT(parse("{}", R"({"quantization": {"quant_algo": "W4A16_AWQ"}})"),
              HasSubstr("f/hf_quant_config.json: 'quantization.quant_algo' is \"W4A16_AWQ\""));
  EXPECT_THAT(parse("{}", "{}"), HasSubstr("'quantization' is missing"));
  EXPECT_THAT(parse("{}", "[1]"), HasSubstr("not a JSON object"));
  EXPECT_THAT(parse(R"({"quantization_config": {"quant_method": "eetq"}})",
                    R"({"quantization": {"quant_algo": "FP8"}})"),
              HasSubstr("eetq"));
}

TEST(CheckpointFormat, settings_that_change_nothing_here_are_taken) {
  json gptq = settings_of("gptq");
  gptq["dynamic"] = {{"-:.*layers.0.*", json::object()}};
  gptq["meta"] = {{"quantizer", "gptqmodel:2.0"}};
  EXPECT_EQ(error_of(gptq), kAccepted);
  json awq = settings_of("awq");
  awq["version"] = "GEMM";
  EXPECT_EQ(error_of(awq), kAccepted);
  json compressed = settings_of("ct-w8a8");
  compressed["kv_cache_scheme"] = {{"num_bits", 8}, {"type", "float"}};
  compressed["sparsity_config"] = {{"format", "dense"}};
  EXPECT_EQ(error_of(compressed), kAccepted);
}

}  // namespace
}  // namespace iol::test
