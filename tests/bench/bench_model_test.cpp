#include "bench/bench_model.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"

namespace iol::bench {
namespace {

using nlohmann::json;

const std::filesystem::path kModels = std::filesystem::path(IOL_SOURCE_DIR) / "models";

ModelConfig small_config(const std::string& architecture) {
  ModelConfig config;
  config.architecture = architecture;
  config.num_layers = 2;
  config.hidden_size = 64;
  config.intermediate_size = 96;
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.head_dim = 16;
  config.vocab_size = 100;
  config.max_position_embeddings = 512;
  return config;
}

TEST(TransformersConfig, names_the_family_and_its_rope) {
  auto config = small_config("LlamaForCausalLM");
  config.rope.type = RopeConfig::Type::kLlama3;
  config.rope.theta = 500000;
  config.rope.factor = 8;
  config.rope.original_max_position_embeddings = 256;
  const auto fields = transformers_config(config);
  EXPECT_EQ(fields["model_type"], "llama");
  EXPECT_EQ(fields["num_key_value_heads"], 2);
  EXPECT_EQ(fields["rope_parameters"],
            json::parse(R"({"rope_type": "llama3", "rope_theta": 500000.0,
      "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
      "original_max_position_embeddings": 256})"));
  EXPECT_EQ(transformers_config(small_config("Qwen3ForCausalLM"))["model_type"], "qwen3");
}

TEST(TransformersConfig, mistral_without_a_window_says_so) {
  auto config = small_config("MistralForCausalLM");
  EXPECT_TRUE(transformers_config(config).at("sliding_window").is_null());
  config.sliding_window = {128, 128};
  EXPECT_EQ(transformers_config(config)["sliding_window"], 128);
}

TEST(TransformersConfig, of_an_unknown_family_is_refused) {
  EXPECT_THROW(transformers_config(small_config("GPT2LMHeadModel")), InputError);
}

TEST(ModelHash, changes_with_any_byte_and_any_name) {
  const auto folder =
      std::filesystem::path(::testing::TempDir()) / ("model_hash_" + std::to_string(::getpid()));
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "config.json") << "{}";
  std::ofstream(folder / "model.safetensors") << std::string(5000, 'w');
  std::ofstream(folder / "README.md") << "not part of the model";
  const auto hash = hash_model_files(folder);
  EXPECT_TRUE(hash.starts_with("sha256:"));
  EXPECT_EQ(hash.size(), 7U + 64);
  EXPECT_EQ(hash_model_files(folder), hash);
  std::ofstream(folder / "README.md") << "changed";
  EXPECT_EQ(hash_model_files(folder), hash);
  std::ofstream(folder / "model.safetensors") << std::string(4999, 'w') << 'v';
  EXPECT_NE(hash_model_files(folder), hash);
  std::ofstream(folder / "model.safetensors") << std::string(5000, 'w');
  std::filesystem::rename(folder / "config.json", folder / "other.json");
  EXPECT_NE(hash_model_files(folder), hash);
  std::filesystem::remove_all(folder);
}

// printf '%s\n%s\n' name size; cat file; ... | sha256sum, over the folder's files in order.
TEST(ModelHash, of_the_draft_model_is_what_sha256sum_says) {
  EXPECT_EQ(hash_model_files(kModels / "books-2m"),
            "sha256:c83b6b6d3510e028764b82f596dbadab4a06dae1dd3d976f70068b30527f6048");
}

}  // namespace
}  // namespace iol::bench
