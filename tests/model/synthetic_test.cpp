// Synthetic models: the shapes that were published, and weights that are the same everywhere.
#include "model/synthetic.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "base/error.h"
#include "tests/message_of.h"
#include "tests/temporary_folder.h"

namespace iol::test {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

/// What the publisher's config.json says, in the form of its day.
struct Published {
  const char* name;
  const char* config;
};

const Published kPublished[] = {
    {"tinyllama-1.1b",
     R"({"architectures": ["LlamaForCausalLM"], "hidden_size": 2048, "intermediate_size": 5632,
         "max_position_embeddings": 2048, "num_attention_heads": 32, "num_hidden_layers": 22,
         "num_key_value_heads": 4, "rms_norm_eps": 1e-05, "rope_theta": 10000.0,
         "tie_word_embeddings": false, "torch_dtype": "bfloat16", "vocab_size": 32000})"},
    {"llama-3.2-1b",
     R"({"architectures": ["LlamaForCausalLM"], "head_dim": 64, "hidden_size": 2048,
         "intermediate_size": 8192, "max_position_embeddings": 131072, "num_attention_heads": 32,
         "num_hidden_layers": 16, "num_key_value_heads": 8, "rms_norm_eps": 1e-05,
         "rope_scaling": {"factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
                          "original_max_position_embeddings": 8192, "rope_type": "llama3"},
         "rope_theta": 500000.0, "tie_word_embeddings": true, "torch_dtype": "bfloat16",
         "vocab_size": 128256})"},
    {"llama-3.1-8b",
     R"({"architectures": ["LlamaForCausalLM"], "hidden_size": 4096, "intermediate_size": 14336,
         "max_position_embeddings": 131072, "num_attention_heads": 32, "num_hidden_layers": 32,
         "num_key_value_heads": 8, "rms_norm_eps": 1e-05,
         "rope_scaling": {"factor": 8.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
                          "original_max_position_embeddings": 8192, "rope_type": "llama3"},
         "rope_theta": 500000.0, "tie_word_embeddings": false, "torch_dtype": "bfloat16",
         "vocab_size": 128256})"},
    {"llama-2-7b",
     R"({"architectures": ["LlamaForCausalLM"], "hidden_size": 4096, "intermediate_size": 11008,
         "max_position_embeddings": 4096, "num_attention_heads": 32, "num_hidden_layers": 32,
         "num_key_value_heads": 32, "rms_norm_eps": 1e-05, "rope_scaling": null,
         "tie_word_embeddings": false, "torch_dtype": "bfloat16", "vocab_size": 32000})"},
    {"llama-2-70b",
     R"({"architectures": ["LlamaForCausalLM"], "hidden_size": 8192, "intermediate_size": 28672,
         "max_position_embeddings": 4096, "num_attention_heads": 64, "num_hidden_layers": 80,
         "num_key_value_heads": 8, "rms_norm_eps": 1e-05, "rope_scaling": null,
         "tie_word_embeddings": false, "torch_dtype": "bfloat16", "vocab_size": 32000})"},
};

/// Small enough to generate whole; 101 rows of 33 are no multiple of the four weights of a hash.
ModelConfig small_config() {
  ModelConfig config;
  config.num_layers = 2;
  config.hidden_size = 33;
  config.intermediate_size = 96;
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.head_dim = 16;
  config.vocab_size = 101;
  return config;
}

std::vector<std::uint16_t> bits_of(WeightSource& source, const std::string& name) {
  const auto lease = source.lease(name);
  std::vector<std::uint16_t> bits(static_cast<std::size_t>(lease->tensor().num_elements()));
  std::memcpy(bits.data(), lease->tensor().data, bits.size() * 2);
  return bits;
}

TEST(Synthetic, shapes_are_the_published_ones) {
  for (const auto& [name, text] : kPublished) {
    SCOPED_TRACE(name);
    const ModelConfig got = synthetic_config(name);
    const ModelConfig want = parse_model_config(text, {}, "published");
    EXPECT_EQ(got.architecture, want.architecture);
    EXPECT_EQ(got.num_layers, want.num_layers);
    EXPECT_EQ(got.hidden_size, want.hidden_size);
    EXPECT_EQ(got.intermediate_size, want.intermediate_size);
    EXPECT_EQ(got.num_heads, want.num_heads);
    EXPECT_EQ(got.num_kv_heads, want.num_kv_heads);
    EXPECT_EQ(got.head_dim, want.head_dim);
    EXPECT_EQ(got.vocab_size, want.vocab_size);
    EXPECT_EQ(got.max_position_embeddings, want.max_position_embeddings);
    EXPECT_EQ(got.rms_norm_eps, want.rms_norm_eps);
    EXPECT_EQ(got.rope.type, want.rope.type);
    EXPECT_EQ(got.rope.theta, want.rope.theta);
    EXPECT_EQ(got.rope.factor, want.rope.factor);
    EXPECT_EQ(got.rope.low_freq_factor, want.rope.low_freq_factor);
    EXPECT_EQ(got.rope.high_freq_factor, want.rope.high_freq_factor);
    EXPECT_EQ(got.rope.original_max_position_embeddings,
              want.rope.original_max_position_embeddings);
    EXPECT_EQ(got.tie_word_embeddings, want.tie_word_embeddings);
    EXPECT_EQ(got.sliding_window, want.sliding_window);
    EXPECT_EQ(got.dtype, want.dtype);
    EXPECT_FALSE(got.qkv_bias || got.output_bias || got.mlp_bias || got.qk_norm);
  }
}

TEST(Synthetic, unknown_names_list_the_known_ones_in_one_line) {
  for (const char* name :
       {"", " ", "tinyllama", "TinyLlama-1.1b", "tinyllama-1.1b ", "synthetic:llama-2-7b", "llama",
        "llama-2-7b\nllama-2-7b", "\x1b[31m", "\xff"}) {
    const auto message = message_of<InputError>([&] { synthetic_config(name); });
    EXPECT_THAT(message, AllOf(HasSubstr("is not a known shape"), Not(HasSubstr("\n")),
                               Not(HasSubstr("\x1b"))));
    for (const auto& [known, config] : kPublished)
      EXPECT_THAT(message, HasSubstr(std::string("synthetic:") + known));
  }
}

TEST(Synthetic, weights_are_a_function_of_seed_and_name) {
  const auto first = make_synthetic_weights(small_config(), 1);
  const auto again = make_synthetic_weights(small_config(), 1);
  const auto other = make_synthetic_weights(small_config(), 2);
  const std::string q = "model.layers.0.self_attn.q_proj.weight";
  EXPECT_EQ(bits_of(*first, q), bits_of(*first, q));
  EXPECT_EQ(bits_of(*first, q), bits_of(*again, q));
  EXPECT_NE(bits_of(*first, q), bits_of(*other, q));
  EXPECT_NE(bits_of(*first, q), bits_of(*first, "model.layers.1.self_attn.q_proj.weight"));
  EXPECT_NE(bits_of(*first, "model.embed_tokens.weight"), bits_of(*first, "lm_head.weight"));
}

TEST(Synthetic, weights_are_the_same_on_every_machine) {
  // Computed apart, from the definition: SplitMix64 over the name, the seed and the position.
  const auto source = make_synthetic_weights(synthetic_config("tinyllama-1.1b"), 7);
  const auto at = [](const std::vector<std::uint16_t>& bits) {
    return std::vector<int>{bits[0], bits[1], bits[2], bits[3], bits[4], bits[1000], bits[1001]};
  };
  EXPECT_THAT(at(bits_of(*source, "model.embed_tokens.weight")),
              ElementsAre(0xbd1c, 0x3c65, 0xbcab, 0xbc38, 0x3bb4, 0x3c6e, 0x3ce3));
  EXPECT_THAT(at(bits_of(*source, "model.layers.3.mlp.down_proj.weight")),
              ElementsAre(0xbca4, 0x3c4b, 0x3c96, 0x3ca2, 0xbc0f, 0xbbca, 0x3c76));
}

TEST(Synthetic, weights_have_the_variance_that_keeps_activations_of_unit_size) {
  const auto source = make_synthetic_weights(small_config(), 3);
  for (const std::string name : {"model.embed_tokens.weight", "model.layers.1.mlp.down_proj.weight",
                                 "model.layers.0.mlp.gate_proj.weight"}) {
    SCOPED_TRACE(name);
    const double columns = static_cast<double>(source->lease(name)->tensor().shape[1]);
    const double bound = std::sqrt(3.0 / columns);
    const auto bits = bits_of(*source, name);
    const auto count = static_cast<double>(bits.size());
    double sum = 0;
    double squares = 0;
    for (const auto value : bits) {
      const double weight = bf16_to_f32(value);
      EXPECT_LE(std::abs(weight), bound * (1 + 0x1p-8));
      sum += weight;
      squares += weight * weight;
    }
    // Five standard errors: of the mean of a uniform, and of its second moment (kurtosis 9/5).
    EXPECT_NEAR(sum / count, 0, 5 / std::sqrt(columns * count));
    EXPECT_NEAR(squares / count * columns, 1, 5 * std::sqrt(0.8 / count));
  }
}

TEST(Synthetic, norms_are_ones_and_every_tensor_has_its_shape) {
  const auto source = make_synthetic_weights(small_config(), 0);
  for (const auto value : bits_of(*source, "model.layers.1.input_layernorm.weight"))
    EXPECT_EQ(bf16_to_f32(value), 1.0F);
  const auto shape = [&](const std::string& name) { return source->lease(name)->tensor().shape; };
  EXPECT_THAT(shape("model.embed_tokens.weight"), ElementsAre(101, 33));
  EXPECT_THAT(shape("lm_head.weight"), ElementsAre(101, 33));
  EXPECT_THAT(shape("model.norm.weight"), ElementsAre(33));
  const std::string layer = "model.layers.1.";
  EXPECT_THAT(shape(layer + "self_attn.q_proj.weight"), ElementsAre(64, 33));
  EXPECT_THAT(shape(layer + "self_attn.k_proj.weight"), ElementsAre(32, 33));
  EXPECT_THAT(shape(layer + "self_attn.v_proj.weight"), ElementsAre(32, 33));
  EXPECT_THAT(shape(layer + "self_attn.o_proj.weight"), ElementsAre(33, 64));
  EXPECT_THAT(shape(layer + "mlp.gate_proj.weight"), ElementsAre(96, 33));
  EXPECT_THAT(shape(layer + "mlp.up_proj.weight"), ElementsAre(96, 33));
  EXPECT_THAT(shape(layer + "mlp.down_proj.weight"), ElementsAre(33, 96));
}

TEST(Synthetic, tensors_that_the_model_does_not_have_are_refused) {
  const auto source = make_synthetic_weights(small_config(), 0);
  EXPECT_FALSE(source->contains("model.layers.2.input_layernorm.weight"));
  EXPECT_THAT(
      message_of<InputError>([&] { source->lease("model.layers.2.input_layernorm.weight"); }),
      HasSubstr("'model.layers.2.input_layernorm.weight'"));
}

}  // namespace
}  // namespace iol::test
