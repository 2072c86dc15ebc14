#include "model/tensor_list.h"

#include <fmt/format.h>

#include <algorithm>

namespace iol {
namespace {

class TensorList {
 public:
  explicit TensorList(const Quantization& quantization) : quantization_(quantization) {}

  void vector(std::string name, std::int64_t size) {
    tensors_.push_back({std::move(name), {size}, WeightFormat::kNone});
  }

  struct Part {
    std::string name;
    std::int64_t rows;
  };
  void matrices(WeightFormat format, const std::vector<Part>& parts, std::int64_t columns) {
    const bool keeps_one = std::any_of(parts.begin(), parts.end(),
                                       [&](const Part& part) { return is_kept(part.name); });
    for (const auto& part : parts) {
      tensors_.push_back(
          {part.name, {part.rows, columns}, keeps_one ? WeightFormat::kNone : format});
    }
  }

  std::vector<ModelTensor> take() { return std::move(tensors_); }

 private:
  [[nodiscard]] bool is_kept(const std::string& name) const {
    return std::any_of(quantization_.keep.begin(), quantization_.keep.end(),
                       [&](const auto& part) { return name.find(part) != std::string::npos; });
  }

  const Quantization& quantization_;
  std::vector<ModelTensor> tensors_;
};

void add_layer(const ModelConfig& config, WeightFormat format, int layer, TensorList& list) {
  const std::int64_t hidden = config.hidden_size;
  const std::int64_t inner = config.intermediate_size;
  const std::int64_t queries = std::int64_t{config.num_heads} * config.head_dim;
  const std::int64_t keys = std::int64_t{config.num_kv_heads} * config.head_dim;
  const auto attention = [&](std::string_view rest) {
    return fmt::format("model.layers.{}.self_attn.{}", layer, rest);
  };
  const auto mlp = [&](std::string_view rest) {
    return fmt::format("model.layers.{}.mlp.{}", layer, rest);
  };
  list.vector(fmt::format("model.layers.{}.input_layernorm.weight", layer), hidden);
  list.vector(fmt::format("model.layers.{}.post_attention_layernorm.weight", layer), hidden);
  list.matrices(format,
                {{attention("q_proj.weight"), queries},
                 {attention("k_proj.weight"), keys},
                 {attention("v_proj.weight"), keys}},
                hidden);
  if (config.qkv_bias) {
    list.vector(attention("q_proj.bias"), queries);
    list.vector(attention("k_proj.bias"), keys);
    list.vector(attention("v_proj.bias"), keys);
  }
  if (config.qk_norm) {
    list.vector(attention("q_norm.weight"), config.head_dim);
    list.vector(attention("k_norm.weight"), config.head_dim);
  }
  list.matrices(format, {{attention("o_proj.weight"), hidden}}, queries);
  if (config.output_bias) list.vector(attention("o_proj.bias"), hidden);
  list.matrices(format, {{mlp("gate_proj.weight"), inner}, {mlp("up_proj.weight"), inner}}, hidden);
  list.matrices(format, {{mlp("down_proj.weight"), hidden}}, inner);
  if (config.mlp_bias) {
    list.vector(mlp("gate_proj.bias"), inner);
    list.vector(mlp("up_proj.bias"), inner);
    list.vector(mlp("down_proj.bias"), hidden);
  }
}

}  // namespace

std::vector<ModelTensor> model_tensors(const ModelConfig& config,
                                       const Quantization& quantization) {
  TensorList list(quantization);
  const bool tied = config.tie_word_embeddings;
  list.matrices(tied ? quantization.head : WeightFormat::kNone,
                {{"model.embed_tokens.weight", config.vocab_size}}, config.hidden_size);
  for (int layer = 0; layer < config.num_layers; ++layer)
    add_layer(config, quantization.format, layer, list);
  list.vector("model.norm.weight", config.hidden_size);
  if (!tied)
    list.matrices(quantization.head, {{"lm_head.weight", config.vocab_size}}, config.hidden_size);
  return list.take();
}

}  // namespace iol
