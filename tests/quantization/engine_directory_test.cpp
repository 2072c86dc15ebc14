// Engine directories give the numbers of quantizing at load, and are refused when they are not what
// a build wrote.
#include "quantization/engine_directory.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "engine/loaded_model.h"
#include "engine/scorer.h"
#include "model/safetensors.h"
#include "tests/message_of.h"
#include "tests/quantization/built_model.h"

namespace iol::test {
namespace {

using nlohmann::json;
using testing::HasSubstr;

constexpr const char* kOnlyFile = "weights-00001-of-00001.safetensors";

std::vector<float> logits_of(const std::filesystem::path& folder, const Quantization& quant,
                             Isa isa) {
  EngineConfig config;
  config.model = folder.string();
  config.quant = quant;
  config.isa = isa;
  config.num_threads = 2;
  LoadedModel model = load_model(config);
  std::vector<std::int32_t> tokens(40);
  for (std::size_t i = 0; i < tokens.size(); ++i)
    tokens[i] = static_cast<std::int32_t>(i * 7 + 3) % model.config.vocab_size;
  std::vector<float> all;
  Scorer scorer(model, 40);
  scorer.score(tokens, [&](const Scorer::Rows& rows) {
    for (int i = 0; i < rows.count; ++i) {
      const auto row = rows.logits(i);
      all.insert(all.end(), row.begin(), row.end());
    }
  });
  return all;
}

struct Built {
  std::string model;
  Quantization quantization;
};

class EngineDirectoryOf : public BuiltModel, public testing::WithParamInterface<Built> {};

TEST_P(EngineDirectoryOf, a_model_gives_the_logits_of_quantizing_at_load) {
  const auto& [model, quant] = GetParam();
  build(model, quant);
  for (const Isa isa : supported_isas()) {
    const auto at_load = logits_of(kModels / model, quant, isa);
    const auto built = logits_of(directory(), {}, isa);
    ASSERT_EQ(at_load.size(), built.size());
    EXPECT_EQ(std::memcmp(at_load.data(), built.data(), built.size() * sizeof(float)), 0)
        << isa_name(isa);
  }
}

std::vector<Built> all_built() {
  const Quantization mixed{WeightFormat::kInt8, 128, WeightFormat::kInt8WeightOnly, {"k_proj"}};
  std::vector<Built> built;
  for (const auto& traits : kWeightFormats)
    built.push_back({"llama-bf16", quantization(traits.format, 32)});
  for (const char* model :
       {"llama-biases", "llama-tied", "llama-f16-sharded", "mistral-window", "qwen2", "qwen3"}) {
    built.push_back({model, quantization(WeightFormat::kInt4, 32)});
    built.push_back({model, mixed});
  }
  return built;
}

std::string name_of(const testing::TestParamInfo<Built>& info) {
  std::string name = info.param.model + "_" +
                     std::string(weight_format_name(info.param.quantization.format)) +
                     (info.param.quantization.keep.empty() ? "" : "_mixed");
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(EveryFormat, EngineDirectoryOf, testing::ValuesIn(all_built()), name_of);

class EngineDirectoryTest : public BuiltModel {
 protected:
  void SetUp() override { build("llama-bf16", quantization(WeightFormat::kInt4, 32)); }
  [[nodiscard]] std::string refusal(bool verify = false) const {
    const std::string message =
        message_of<InputError>([&] { EngineDirectory directory(this->directory(), verify); });
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    return message;
  }
  /// The weights file with the bytes of one tensor changed.
  [[nodiscard]] std::string with_changed(const std::string& tensor,
                                         const std::function<void(char*)>& change) const {
    std::string file = read_file(directory() / kOnlyFile);
    const auto tensors = parse_safetensors(std::as_bytes(std::span(file)), "built");
    change(file.data() + (reinterpret_cast<const char*>(tensors.at(tensor).data) - file.data()));
    return file;
  }
};

TEST_F(EngineDirectoryTest, opens_as_it_was_built) {
  EngineDirectory directory(this->directory(), /*verify=*/true);
  EXPECT_EQ(directory.quantization(), quantization(WeightFormat::kInt4, 32));
  const auto lease = directory.lease("model.layers.0.mlp.down_proj.weight");
  ASSERT_NE(lease->tensor().quantized, nullptr);
  EXPECT_EQ(lease->tensor().shape, (std::vector<std::int64_t>{32, 64}));
  EXPECT_EQ(lease->tensor().quantized->group_size, 32);
  EXPECT_EQ(directory.lease("lm_head.weight")->tensor().dtype, DType::kBF16);
  EXPECT_THAT(message_of<InputError>([&] { directory.lease("lm_head.bias"); }),
              HasSubstr("'lm_head.bias' is in none of its files"));
}

TEST_F(EngineDirectoryTest, refuses_another_quantization_than_its_own) {
  EngineConfig config;
  config.model = directory().string();
  config.quant = quantization(WeightFormat::kInt8);
  EXPECT_THAT(message_of<InputError>([&] { load_model(config); }), HasSubstr("holds int4 weights"));
  config.quant = quantization(WeightFormat::kInt4, 64);
  EXPECT_THAT(message_of<InputError>([&] { load_model(config); }), HasSubstr("holds int4 weights"));
  config.quant = quantization(WeightFormat::kInt4, 32);
  EXPECT_EQ(load_model(config).quant, config.quant);
  config.quant = {};
  EXPECT_EQ(load_model(config).quant, quantization(WeightFormat::kInt4, 32));
}

TEST_F(EngineDirectoryTest, refuses_truncated_and_missing_files) {
  const std::string file = read_file(directory() / kOnlyFile);
  write(kOnlyFile, file.substr(0, file.size() - 1));
  EXPECT_THAT(refusal(), HasSubstr("but the manifest says " + std::to_string(file.size())));
  std::filesystem::remove(directory() / kOnlyFile);
  EXPECT_THAT(refusal(), HasSubstr("is missing or unreadable"));
}

TEST_F(EngineDirectoryTest, refuses_a_truncated_manifest) {
  const std::string text = read_file(directory() / "manifest.json");
  for (const std::size_t size : {std::size_t{0}, text.size() / 2, text.size() - 3}) {
    write("manifest.json", text.substr(0, size));
    EXPECT_THAT(refusal(), HasSubstr("truncated or broken")) << size;
  }
}

TEST_F(EngineDirectoryTest, refuses_the_weights_of_another_build) {
  // The same shapes and sizes: only another name of its source.
  std::filesystem::rename(directory(), folder_.path() / "first");
  build("llama-bf16", quantization(WeightFormat::kInt4, 32),
        [](auto& request) { request.source_model = "other"; });
  write(kOnlyFile, read_file(folder_.path() / "first" / kOnlyFile));
  EXPECT_THAT(refusal(), HasSubstr("belongs to another build than the manifest"));
}

TEST_F(EngineDirectoryTest, finds_a_changed_byte_of_weights_when_asked_to_verify) {
  write(kOnlyFile, with_changed("model.layers.0.mlp.up_proj.weight", [](char* at) { *at ^= 16; }));
  EXPECT_NO_THROW(EngineDirectory(directory(), /*verify=*/false));
  EXPECT_THAT(refusal(/*verify=*/true), HasSubstr("SHA-256 differs"));
}

TEST_F(EngineDirectoryTest, always_finds_a_changed_configuration) {
  std::string config = read_file(directory() / "config.json");
  config[config.find("10000.0")] = '2';
  write("config.json", config);
  EXPECT_THAT(refusal(), HasSubstr("config.json' is not what the build wrote"));
}

TEST_F(EngineDirectoryTest, refuses_a_configuration_that_does_not_fit_the_tensors) {
  std::string config = read_file(directory() / "config.json");
  const auto at = config.find("\"intermediate_size\": 64");
  ASSERT_NE(at, std::string::npos);
  config.replace(at, 23, "\"intermediate_size\": 32");
  forge("config.json", config);
  EXPECT_THAT(refusal(), HasSubstr("its manifest implies"));
}

TEST_F(EngineDirectoryTest, refuses_a_file_that_was_added) {
  write("tokenizer.json", "{}");
  EXPECT_THAT(refusal(), HasSubstr("holds tokenizer.json, which its manifest does not list"));
}

TEST_F(EngineDirectoryTest, refuses_damaged_scales_and_zero_points) {
  const std::string matrix = "model.layers.1.mlp.gate_proj.weight";
  const float nan = std::nanf("");
  forge(kOnlyFile, with_changed(matrix + "_scale", [&](char* at) { std::memcpy(at, &nan, 4); }));
  EngineDirectory damaged(directory(), true);
  EXPECT_THAT(message_of<InputError>([&] { damaged.lease(matrix); }),
              HasSubstr("the scales of tensor '" + matrix + "' are damaged"));
  forge(kOnlyFile, with_changed(matrix + "_scale", [](char* at) { std::memset(at, 0, 4); }));
  forge(kOnlyFile, with_changed(matrix + "_zero", [](char* at) { *at = 16; }));
  EngineDirectory zeros(directory(), true);
  EXPECT_THAT(message_of<InputError>([&] { zeros.lease(matrix); }),
              HasSubstr("the zero points of tensor"));
}

TEST_F(EngineDirectoryTest, refuses_the_manifest_of_another_format) {
  change_manifest([](json& manifest) { manifest["quantization"]["format"] = "int8"; });
  EXPECT_THAT(refusal(), HasSubstr("is u8 [64, 16]; its manifest implies i8 [64, 32]"));
  change_manifest([](json& manifest) {
    manifest["quantization"]["format"] = "int4";
    manifest["quantization"]["group_size"] = 48;
  });
  EXPECT_THAT(refusal(), HasSubstr("groups of 48 don't divide"));
}

TEST(OpenWeights, refuses_to_verify_a_checkpoint) {
  EXPECT_THAT(message_of<InputError>([&] { open_weights(kModels / "llama", /*verify=*/true); }),
              HasSubstr("which has no hashes"));
}

}  // namespace
}  // namespace iol::test
