// What a model takes in memory, against published numbers and against what loading it takes.
#include "model/memory_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "engine/loaded_model.h"
#include "engine/memory_check.h"
#include "model/synthetic.h"
#include "tests/message_of.h"
#include "tests/temporary_folder.h"

namespace iol::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

struct Published {
  const char* name;
  ModelConfig config;
  std::int64_t num_parameters;  // as the publisher's page has it
  std::int64_t in_matrices;     // without norms and biases
  std::int64_t kv_values_per_token;
};

/// The sizes of a config.json; the rest is the family's default.
ModelConfig config_of(const std::string& sizes) {
  return parse_model_config("{" + sizes + "}", {}, "published");
}

const std::vector<Published>& published() {
  static const std::vector<Published> models = {
      {"TinyLlama-1.1B", synthetic_config("tinyllama-1.1b"), 1'100'048'384, 1'099'956'224,
       2 * 22 * 4 * 64},
      {"Llama-3.2-1B", synthetic_config("llama-3.2-1b"), 1'235'814'400, 1'235'746'816,
       2 * 16 * 8 * 64},
      {"Llama-3.1-8B", synthetic_config("llama-3.1-8b"), 8'030'261'248, 8'029'995'008,
       2 * 32 * 8 * 128},
      {"Llama-2-7B", synthetic_config("llama-2-7b"), 6'738'415'616, 6'738'149'376,
       2 * 32 * 32 * 128},
      {"Llama-2-70B", synthetic_config("llama-2-70b"), 68'976'648'192, 68'975'329'280,
       2 * 80 * 8 * 128},
      {"Mistral-7B", config_of(R"("architectures": ["MistralForCausalLM"], "hidden_size": 4096,
         "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
         "num_key_value_heads": 8, "vocab_size": 32000)"),
       7'241'732'096, 7'241'465'856, 2 * 32 * 8 * 128},
      {"Qwen2-0.5B", config_of(R"("architectures": ["Qwen2ForCausalLM"], "hidden_size": 896,
         "intermediate_size": 4864, "num_hidden_layers": 24, "num_attention_heads": 14,
         "num_key_value_heads": 2, "vocab_size": 151936, "tie_word_embeddings": true)"),
       494'032'768, 493'961'216, 2 * 24 * 2 * 64},
      {"Qwen2-7B", config_of(R"("architectures": ["Qwen2ForCausalLM"], "hidden_size": 3584,
         "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28,
         "num_key_value_heads": 4, "vocab_size": 152064)"),
       7'615'616'512, 7'615'283'200, 2 * 28 * 4 * 128},
      {"Qwen3-0.6B", config_of(R"("architectures": ["Qwen3ForCausalLM"], "hidden_size": 1024,
         "intermediate_size": 3072, "num_hidden_layers": 28, "num_attention_heads": 16,
         "num_key_value_heads": 8, "vocab_size": 151936, "tie_word_embeddings": true)"),
       596'049'920, 595'984'384, 2 * 28 * 8 * 128},
      {"Qwen3-8B", config_of(R"("architectures": ["Qwen3ForCausalLM"], "hidden_size": 4096,
         "intermediate_size": 12288, "num_hidden_layers": 36, "num_attention_heads": 32,
         "num_key_value_heads": 8, "vocab_size": 151936)"),
       8'190'735'360, 8'190'427'136, 2 * 36 * 8 * 128},
  };
  return models;
}

std::int64_t planned_bytes(const ModelConfig& config, DType dtype) {
  return weight_bytes(config, dtype, {});
}

TEST(MemoryPlan, counts_the_parameters_that_were_published) {
  for (const auto& model : published())
    EXPECT_EQ(num_parameters(model.config), model.num_parameters) << model.name;
}

TEST(MemoryPlan, weights_take_what_their_matrices_hold) {
  // Every published width is a multiple of the panel: nothing is padded.
  for (const auto& model : published()) {
    SCOPED_TRACE(model.name);
    EXPECT_EQ(planned_bytes(model.config, DType::kF32), 4 * model.in_matrices);
    EXPECT_EQ(planned_bytes(model.config, DType::kBF16), 2 * model.in_matrices);
    EXPECT_EQ(planned_bytes(model.config, DType::kF16), 2 * model.in_matrices);
  }
}

TEST(MemoryPlan, a_token_takes_a_key_and_a_value_per_layer_and_kv_head) {
  for (const auto& model : published()) {
    SCOPED_TRACE(model.name);
    EXPECT_EQ(kv_bytes_per_token(model.config, DType::kF32), 4 * model.kv_values_per_token);
    EXPECT_EQ(kv_bytes_per_token(model.config, DType::kBF16), 2 * model.kv_values_per_token);
    // One byte each, and an f32 scale for each head's key and value.
    const auto scales = model.kv_values_per_token / model.config.head_dim;
    EXPECT_EQ(kv_bytes_per_token(model.config, DType::kI8), model.kv_values_per_token + 4 * scales);
    EXPECT_EQ(kv_bytes_per_token(model.config, DType::kF8E4M3),
              model.kv_values_per_token + 4 * scales);
  }
}

TEST(MemoryPlan, is_what_the_loaded_weights_take) {
  const std::filesystem::path goldens = IOL_SOURCE_DIR "/tests/goldens/models";
  for (const char* name : {"llama", "llama-tied", "llama-biases", "mistral-window", "qwen2",
                           "qwen3", "llama-f16-sharded"}) {
    for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
      EngineConfig engine;
      engine.model = (goldens / name).string();
      engine.dtype = dtype;
      engine.num_threads = 1;
      const LoadedModel model = load_model(engine);
      EXPECT_EQ(model.weights.size_bytes(), planned_bytes(model.config, dtype))
          << name << ' ' << dtype_name(dtype);
    }
  }
}

TEST(MemoryPlan, kept_matrices_and_groups_of_whole_rows_are_counted_as_they_are) {
  const ModelConfig config = load_model_config(IOL_SOURCE_DIR "/tests/goldens/models/llama");
  EngineConfig engine;
  engine.model = IOL_SOURCE_DIR "/tests/goldens/models/llama";
  engine.dtype = DType::kF32;
  engine.quant.format = WeightFormat::kInt8;
  for (const auto& keep : std::vector<std::vector<std::string>>{
           {"down_proj"}, {"layers.1."}, {"v_proj"}, {"up_proj", "layers.0.self_attn.o_proj"}}) {
    engine.quant.keep = keep;
    EXPECT_EQ(load_model(engine).weights.size_bytes(),
              weight_bytes(config, DType::kF32, engine.quant))
        << keep[0];
  }
  Quantization rows;
  rows.format = WeightFormat::kInt4;
  rows.group_size = 0;
  Quantization groups = rows;
  groups.group_size = 32;
  // hidden 32: one group either way, but in the down projection's 64 columns.
  EXPECT_EQ(weight_bytes(config, DType::kF32, groups) - weight_bytes(config, DType::kF32, rows),
            config.num_layers * 64 * 5 * (config.intermediate_size / 32 - 1) +
                config.num_layers * 64 * 5 * (config.num_heads * config.head_dim / 32 - 1));
}

TEST(MemoryPlan, the_largest_sizes_that_a_config_may_have_do_not_overflow) {
  const ModelConfig config = config_of(
      R"("architectures": ["LlamaForCausalLM"], "hidden_size": 1048576,
         "intermediate_size": 1048576, "num_hidden_layers": 1000, "num_attention_heads": 524288,
         "head_dim": 2, "vocab_size": 16777216)");
  EXPECT_GT(num_parameters(config), std::int64_t{1} << 50);
  EXPECT_GT(planned_bytes(config, DType::kF32), std::int64_t{1} << 52);
  EXPECT_GT(kv_bytes_per_token(config, DType::kF32), std::int64_t{1} << 32);
}

TEST(MemoryPlan, a_model_that_does_not_fit_is_refused_before_it_is_read) {
  const TemporaryFolder folder;
  // A checkpoint without a single tensor: none must be looked for.
  folder.write("model.safetensors", std::string("\2\0\0\0\0\0\0\0{}", 10));
  folder.write("config.json",
               R"({"architectures": ["LlamaForCausalLM"], "hidden_size": 1048576,
                   "intermediate_size": 1048576, "num_hidden_layers": 1000,
                   "num_attention_heads": 8192, "vocab_size": 16777216})");
  EngineConfig engine;
  engine.model = folder.path().string();
  EXPECT_THAT(message_of<ResourceError>([&] { load_model(engine); }),
              AllOf(HasSubstr(folder.path().string()), HasSubstr("GB are available"),
                    HasSubstr("iol plan"), Not(HasSubstr("\n"))));
}

TEST(MemoryPlan, memory_that_is_there_is_granted_and_more_is_refused) {
  EXPECT_NO_THROW(require_memory(0, "nothing"));
  EXPECT_NO_THROW(require_memory(1 << 20, "a megabyte"));
  EXPECT_GT(available_memory_bytes(), 1 << 20);
  EXPECT_THAT(message_of<ResourceError>([] { require_memory(std::int64_t{1} << 60, "a whale"); }),
              HasSubstr("a whale needs 1152921504.61 GB of memory"));
}

}  // namespace
}  // namespace iol::test
