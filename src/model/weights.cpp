#include "model/weights.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "model/rope.h"

namespace iol {
namespace {

/// Leases tensors, checks them against the shape that the configuration implies, and packs them.
class Loader {
 public:
  Loader(WeightSource& source, Backend& backend) : source_(source), backend_(backend) {}

  /// Of the matrices from now on.
  void set_format(WeightFormat format) { format_ = format; }

  MatrixPtr matrix(const std::vector<std::string>& names, const std::vector<std::int64_t>& rows,
                   std::int64_t columns, Stacking stacking = Stacking::kConcatenated) {
    std::vector<std::unique_ptr<WeightSource::Lease>> leases;
    StackedMatrix stacked;
    stacked.stacking = stacking;
    stacked.format = format_;
    for (std::size_t i = 0; i < names.size(); ++i) {
      leases.push_back(checked_lease(names[i], {rows[i], columns}));
      stacked.parts.push_back(leases.back()->tensor());
    }
    return backend_.pack(stacked);
  }

  VectorPtr vector(const std::vector<std::string>& names, const std::vector<std::int64_t>& sizes,
                   Stacking stacking = Stacking::kConcatenated) {
    std::vector<std::unique_ptr<WeightSource::Lease>> leases;
    StackedMatrix stacked;
    stacked.stacking = stacking;
    for (std::size_t i = 0; i < names.size(); ++i) {
      leases.push_back(checked_lease(names[i], {sizes[i]}));
      stacked.parts.push_back(leases.back()->tensor());
    }
    return backend_.upload(stacked);
  }

 private:
  std::unique_ptr<WeightSource::Lease> checked_lease(const std::string& name,
                                                     const std::vector<std::int64_t>& shape) {
    auto lease = source_.lease(name);
    const DType dtype = lease->tensor().dtype;
    if (dtype != DType::kF32 && dtype != DType::kF16 && dtype != DType::kBF16) {
      throw_input_error("tensor '{}' is {}; weights must be f32, f16 or bf16", name,
                        dtype_name(dtype));
    }
    if (lease->tensor().shape != shape) {
      throw_input_error("tensor '{}' has shape [{}], but config.json implies [{}]", name,
                        fmt::join(lease->tensor().shape, ", "), fmt::join(shape, ", "));
    }
    return lease;
  }

  WeightSource& source_;
  Backend& backend_;
  WeightFormat format_ = WeightFormat::kNone;
};

LayerWeights load_layer(const ModelConfig& config, int layer, Loader& load) {
  const std::int64_t hidden = config.hidden_size;
  const std::int64_t intermediate = config.intermediate_size;
  const std::int64_t head_dim = config.head_dim;
  const std::int64_t query_rows = config.num_heads * head_dim;
  const std::int64_t kv_rows = config.num_kv_heads * head_dim;
  const auto name = [&](std::string_view rest) {
    return fmt::format("model.layers.{}.{}", layer, rest);
  };
  const auto attention = [&](std::string_view projection, std::string_view kind) {
    return name(fmt::format("self_attn.{}_proj.{}", projection, kind));
  };

  LayerWeights weights;
  weights.input_norm = load.vector({name("input_layernorm.weight")}, {hidden});
  weights.post_attention_norm = load.vector({name("post_attention_layernorm.weight")}, {hidden});
  weights.qkv =
      load.matrix({attention("q", "weight"), attention("k", "weight"), attention("v", "weight")},
                  {query_rows, kv_rows, kv_rows}, hidden);
  if (config.qkv_bias) {
    weights.qkv_bias =
        load.vector({attention("q", "bias"), attention("k", "bias"), attention("v", "bias")},
                    {query_rows, kv_rows, kv_rows});
  }
  if (config.qk_norm) {
    weights.q_norm = load.vector({name("self_attn.q_norm.weight")}, {head_dim});
    weights.k_norm = load.vector({name("self_attn.k_norm.weight")}, {head_dim});
  }
  weights.output = load.matrix({attention("o", "weight")}, {hidden}, query_rows);
  if (config.output_bias) weights.output_bias = load.vector({attention("o", "bias")}, {hidden});
  weights.gate_up = load.matrix({name("mlp.gate_proj.weight"), name("mlp.up_proj.weight")},
                                {intermediate, intermediate}, hidden, Stacking::kInterleaved);
  weights.down = load.matrix({name("mlp.down_proj.weight")}, {hidden}, intermediate);
  if (config.mlp_bias) {
    weights.gate_up_bias = load.vector({name("mlp.gate_proj.bias"), name("mlp.up_proj.bias")},
                                       {intermediate, intermediate}, Stacking::kInterleaved);
    weights.down_bias = load.vector({name("mlp.down_proj.bias")}, {hidden});
  }
  return weights;
}

/// The kernels walk rows in vectors of sixteen.
void check_widths(const ModelConfig& config) {
  const auto check = [](std::string_view field, int value) {
    if (value % 16 != 0) {
      throw_input_error("config.json: {} is {}; this engine needs a multiple of 16", field, value);
    }
  };
  check("hidden_size", config.hidden_size);
  check("intermediate_size", config.intermediate_size);
  check("head_dim", config.head_dim);
}

}  // namespace

std::int64_t ModelWeights::size_bytes() const {
  auto total = static_cast<std::int64_t>(embedding->size_bytes());
  if (head) total += static_cast<std::int64_t>(head->size_bytes());
  for (const auto& layer : layers) {
    for (const auto* matrix : {&layer.qkv, &layer.output, &layer.gate_up, &layer.down}) {
      total += static_cast<std::int64_t>((*matrix)->size_bytes());
    }
  }
  return total;
}

ModelWeights load_weights(const ModelConfig& config, WeightSource& source, Backend& backend,
                          WeightFormat format, const LoadProgress& progress) {
  check_widths(config);
  Loader load(source, backend);
  ModelWeights weights;
  weights.embedding =
      load.matrix({"model.embed_tokens.weight"}, {config.vocab_size}, config.hidden_size);
  load.set_format(format);
  for (int layer = 0; layer < config.num_layers; ++layer) {
    weights.layers.push_back(load_layer(config, layer, load));
    if (progress) progress(layer + 1, config.num_layers);
  }
  load.set_format(WeightFormat::kNone);
  weights.final_norm = load.vector({"model.norm.weight"}, {config.hidden_size});
  if (!config.tie_word_embeddings) {
    weights.head = load.matrix({"lm_head.weight"}, {config.vocab_size}, config.hidden_size);
  }
  return weights;
}

TransformerShape transformer_shape(const ModelConfig& config) {
  TransformerShape shape;
  shape.hidden_size = config.hidden_size;
  shape.intermediate_size = config.intermediate_size;
  shape.num_heads = config.num_heads;
  shape.num_kv_heads = config.num_kv_heads;
  shape.head_dim = config.head_dim;
  shape.vocab_size = config.vocab_size;
  shape.num_layers = config.num_layers;
  shape.rms_norm_eps = config.rms_norm_eps;
  shape.rope_inv_freq = rope_inv_freq(config);
  shape.rope_attention_factor = rope_attention_factor(config);
  return shape;
}

}  // namespace iol
