#include "model/synthetic.h"

#include <fmt/ranges.h>

#include <array>
#include <cmath>
#include <map>
#include <thread>
#include <vector>

#include "base/cpu.h"
#include "base/error.h"
#include "base/huge_buffer.h"
#include "base/random.h"
#include "model/json_fields.h"

namespace iol {
namespace {

struct Shape {
  std::string_view name;
  int num_layers, hidden_size, intermediate_size, num_heads, num_kv_heads, head_dim, vocab_size,
      max_positions;
  bool tied;
  double rms_norm_eps;
  double rope_theta;
  double llama3_factor;  // 0: default rotary positions
};

// From the models' published config.json.
constexpr std::array<Shape, 5> kShapes{{
    {"tinyllama-1.1b", 22, 2048, 5632, 32, 4, 64, 32000, 2048, false, 1e-5, 10000, 0},
    {"llama-3.2-1b", 16, 2048, 8192, 32, 8, 64, 128256, 131072, true, 1e-5, 500000, 32},
    {"llama-3.1-8b", 32, 4096, 14336, 32, 8, 128, 128256, 131072, false, 1e-5, 500000, 8},
    {"llama-2-7b", 32, 4096, 11008, 32, 32, 128, 32000, 4096, false, 1e-5, 10000, 0},
    {"llama-2-70b", 80, 8192, 28672, 64, 8, 128, 32000, 4096, false, 1e-5, 10000, 0},
}};

class GeneratedLease final : public WeightSource::Lease {
 public:
  GeneratedLease(HugeBuffer buffer, std::vector<std::int64_t> shape) : buffer_(std::move(buffer)) {
    tensor_ = {buffer_.data(), DType::kBF16, std::move(shape)};
  }
  [[nodiscard]] const HostTensor& tensor() const override { return tensor_; }

 private:
  HugeBuffer buffer_;
  HostTensor tensor_;
};

class SyntheticWeights final : public WeightSource {
 public:
  SyntheticWeights(const ModelConfig& config, std::uint64_t seed) : seed_(seed) {
    const std::int64_t hidden = config.hidden_size;
    const std::int64_t inner = config.intermediate_size;
    const std::int64_t queries = std::int64_t{config.num_heads} * config.head_dim;
    const std::int64_t keys = std::int64_t{config.num_kv_heads} * config.head_dim;
    shapes_["model.embed_tokens.weight"] = {config.vocab_size, hidden};
    shapes_["model.norm.weight"] = {hidden};
    shapes_["lm_head.weight"] = {config.vocab_size, hidden};
    for (int i = 0; i < config.num_layers; ++i) {
      const auto name = [&](std::string_view rest) {
        return fmt::format("model.layers.{}.{}.weight", i, rest);
      };
      shapes_[name("input_layernorm")] = {hidden};
      shapes_[name("post_attention_layernorm")] = {hidden};
      shapes_[name("self_attn.q_proj")] = {queries, hidden};
      shapes_[name("self_attn.k_proj")] = {keys, hidden};
      shapes_[name("self_attn.v_proj")] = {keys, hidden};
      shapes_[name("self_attn.o_proj")] = {hidden, queries};
      shapes_[name("mlp.gate_proj")] = {inner, hidden};
      shapes_[name("mlp.up_proj")] = {inner, hidden};
      shapes_[name("mlp.down_proj")] = {hidden, inner};
    }
  }

  [[nodiscard]] bool contains(const std::string& name) const override {
    return shapes_.contains(name);
  }

  std::unique_ptr<Lease> lease(const std::string& name) override {
    const auto found = shapes_.find(name);
    if (found == shapes_.end()) throw_input_error("synthetic weights have no tensor '{}'", name);
    std::int64_t count = 1;
    for (const auto extent : found->second) count *= extent;
    HugeBuffer buffer(static_cast<std::size_t>(count) * 2);
    auto* values = buffer.as<std::uint16_t>();
    if (found->second.size() == 1) {
      std::fill(values, values + count, f32_to_bf16(1.0F));
    } else {
      fill(values, count, std::sqrt(3.0 / static_cast<double>(found->second[1])), name_seed(name));
    }
    return std::make_unique<GeneratedLease>(std::move(buffer), found->second);
  }

 private:
  [[nodiscard]] std::uint64_t name_seed(const std::string& name) const {
    std::uint64_t hash = seed_;
    for (const char c : name) hash = mix64(hash * 31 + static_cast<unsigned char>(c));
    return hash;
  }

  /// Uniform in [-bound, bound) from a table of 65,536 steps: one hash gives four weights.
  static void fill(std::uint16_t* values, std::int64_t count, double bound, std::uint64_t seed) {
    std::vector<std::uint16_t> table(1 << 16);
    for (std::size_t i = 0; i < table.size(); ++i) {
      table[i] =
          f32_to_bf16(static_cast<float>(bound * ((static_cast<double>(i) + 0.5) / 32768.0 - 1.0)));
    }
    const int num_threads = default_num_threads();
    const std::int64_t quads = (count + 3) / 4;
    std::vector<std::thread> threads;
    for (int thread = 0; thread < num_threads; ++thread) {
      threads.emplace_back([&, thread] {
        for (std::int64_t quad = quads * thread / num_threads;
             quad < quads * (thread + 1) / num_threads; ++quad) {
          const std::uint64_t bits =
              mix64(seed + static_cast<std::uint64_t>(quad) * 0x9e3779b97f4a7c15ULL);
          const std::int64_t last = std::min<std::int64_t>(4, count - quad * 4);
          for (std::int64_t i = 0; i < last; ++i)
            values[quad * 4 + i] = table[(bits >> (16 * i)) & 0xffff];
        }
      });
    }
    for (auto& thread : threads) thread.join();
  }

  std::uint64_t seed_;
  std::map<std::string, std::vector<std::int64_t>> shapes_;
};

}  // namespace

ModelConfig synthetic_config(std::string_view name) {
  for (const auto& shape : kShapes) {
    if (shape.name != name) continue;
    ModelConfig config;
    config.architecture = "LlamaForCausalLM";
    config.num_layers = shape.num_layers;
    config.hidden_size = shape.hidden_size;
    config.intermediate_size = shape.intermediate_size;
    config.num_heads = shape.num_heads;
    config.num_kv_heads = shape.num_kv_heads;
    config.head_dim = shape.head_dim;
    config.vocab_size = shape.vocab_size;
    config.max_position_embeddings = shape.max_positions;
    config.rms_norm_eps = shape.rms_norm_eps;
    config.rope.theta = shape.rope_theta;
    if (shape.llama3_factor > 0) {
      config.rope.type = RopeConfig::Type::kLlama3;
      config.rope.factor = shape.llama3_factor;
      config.rope.original_max_position_embeddings = 8192;
    }
    config.sliding_window.resize(static_cast<std::size_t>(shape.num_layers));
    config.tie_word_embeddings = shape.tied;
    config.dtype = DType::kBF16;
    return config;
  }
  std::vector<std::string> known;
  for (const auto& shape : kShapes) known.push_back(fmt::format("synthetic:{}", shape.name));
  throw_input_error("'synthetic:{}' is not a known shape; known: {}", shown_name(std::string(name)),
                    fmt::join(known, ", "));
}

std::unique_ptr<WeightSource> make_synthetic_weights(const ModelConfig& config,
                                                     std::uint64_t seed) {
  return std::make_unique<SyntheticWeights>(config, seed);
}

}  // namespace iol
