#include "model/weights.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/error.h"
#include "model/rope.h"

namespace iol {
namespace {

bool is_kept(const Quantization& quantization, const std::string& name) {
  return std::any_of(quantization.keep.begin(), quantization.keep.end(),
                     [&](const std::string& part) { return name.find(part) != std::string::npos; });
}

bool have_equal_orders(const QuantizedTensor& a, const QuantizedTensor& b,
                       std::int64_t num_columns) {
  if (a.input_order == nullptr || b.input_order == nullptr) return a.input_order == b.input_order;
  return std::equal(a.input_order, a.input_order + num_columns, b.input_order);
}

/// Leases tensors, checks them against the shape that the configuration implies, and packs them.
class Loader {
 public:
  Loader(WeightSource& source, Backend& backend, const Quantization& quantization)
      : source_(source), backend_(backend), quantization_(quantization) {}

  /// Parts that are quantized already stay as they are; others become `format`, unless kept.
  MatrixPtr matrix(WeightFormat format, const std::vector<std::string>& names,
                   const std::vector<std::int64_t>& rows, std::int64_t columns,
                   Stacking stacking = Stacking::kConcatenated) {
    std::vector<std::unique_ptr<WeightSource::Lease>> leases;
    StackedMatrix stacked;
    stacked.stacking = stacking;
    stacked.format = format;
    stacked.name = names[0];
    stacked.group_size = quantization_.group_size;
    for (std::size_t i = 0; i < names.size(); ++i) {
      leases.push_back(checked_lease(names[i], {rows[i], columns}));
      stacked.parts.push_back(leases.back()->tensor());
      if (is_kept(quantization_, names[i])) stacked.format = WeightFormat::kNone;
    }
    adopt_format(names, stacked);
    if (traits_of(stacked.format).grouped && columns % stacked.group_size != 0) {
      throw_input_error(
          "tensor '{}' has {} columns, which groups of {} don't divide; use a smaller "
          "group size",
          names[0], columns, stacked.group_size);
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
      if (leases.back()->tensor().quantized != nullptr)
        throw_input_error("tensor '{}' is quantized; expected a plain vector", names[i]);
      stacked.parts.push_back(leases.back()->tensor());
    }
    return backend_.upload(stacked);
  }

  [[nodiscard]] WeightFormat layer_format() const { return quantization_.format; }
  [[nodiscard]] WeightFormat head_format() const { return quantization_.head; }

 private:
  /// Matrices that are multiplied as one must be quantized alike.
  static void adopt_format(const std::vector<std::string>& names, StackedMatrix& stacked) {
    const QuantizedTensor* first = stacked.parts[0].quantized;
    for (std::size_t i = 1; i < names.size(); ++i) {
      const QuantizedTensor* other = stacked.parts[i].quantized;
      if ((first == nullptr) != (other == nullptr) ||
          (first != nullptr &&
           (first->format != other->format || first->group_size != other->group_size))) {
        throw_input_error(
            "tensors '{}' and '{}' are quantized differently; this engine multiplies "
            "them as one matrix and needs them alike",
            names[0], names[i]);
      }
      if (first != nullptr && !have_equal_orders(*first, *other, stacked.parts[0].shape[1])) {
        throw_input_error(
            "tensors '{}' and '{}' have their columns in different orders (GPTQ's act-order); this "
            "engine multiplies them as one matrix, use the unquantized checkpoint with --quant",
            names[0], names[i]);
      }
    }
    if (first == nullptr) return;
    stacked.format = first->format;
    stacked.group_size = first->group_size;
  }

  std::unique_ptr<WeightSource::Lease> checked_lease(const std::string& name,
                                                     const std::vector<std::int64_t>& shape) {
    auto lease = source_.lease(name);
    const HostTensor& tensor = lease->tensor();
    const bool is_plain =
        tensor.dtype == DType::kF32 || tensor.dtype == DType::kF16 || tensor.dtype == DType::kBF16;
    if (tensor.quantized == nullptr && !is_plain) {
      throw_input_error("tensor '{}' is {}; weights must be f32, f16 or bf16", name,
                        dtype_name(tensor.dtype));
    }
    if (tensor.shape != shape) {
      throw_input_error("tensor '{}' has shape [{}], but config.json implies [{}]", name,
                        fmt::join(tensor.shape, ", "), fmt::join(shape, ", "));
    }
    return lease;
  }

  WeightSource& source_;
  Backend& backend_;
  const Quantization& quantization_;
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
      load.matrix(load.layer_format(),
                  {attention("q", "weight"), attention("k", "weight"), attention("v", "weight")},
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
  weights.output =
      load.matrix(load.layer_format(), {attention("o", "weight")}, {hidden}, query_rows);
  if (config.output_bias) weights.output_bias = load.vector({attention("o", "bias")}, {hidden});
  weights.gate_up =
      load.matrix(load.layer_format(), {name("mlp.gate_proj.weight"), name("mlp.up_proj.weight")},
                  {intermediate, intermediate}, hidden, Stacking::kInterleaved);
  weights.down =
      load.matrix(load.layer_format(), {name("mlp.down_proj.weight")}, {hidden}, intermediate);
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

void name_next_norms(std::vector<LayerWeights>& layers, const WeightVector& final_norm) {
  for (std::size_t i = 0; i < layers.size(); ++i)
    layers[i].next_norm = i + 1 < layers.size() ? layers[i + 1].input_norm.get() : &final_norm;
}

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
                          const Quantization& quantization, const LoadProgress& progress) {
  check_widths(config);
  Loader load(source, backend, quantization);
  const bool tied = config.tie_word_embeddings;
  ModelWeights weights;
  weights.embedding =
      load.matrix(tied ? load.head_format() : WeightFormat::kNone, {"model.embed_tokens.weight"},
                  {config.vocab_size}, config.hidden_size);
  for (int layer = 0; layer < config.num_layers; ++layer) {
    weights.layers.push_back(load_layer(config, layer, load));
    if (progress) progress(layer + 1, config.num_layers);
  }
  weights.final_norm = load.vector({"model.norm.weight"}, {config.hidden_size});
  name_next_norms(weights.layers, *weights.final_norm);
  if (!tied) {
    weights.head = load.matrix(load.head_format(), {"lm_head.weight"}, {config.vocab_size},
                               config.hidden_size);
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

KvCacheShape kv_cache_shape(const ModelConfig& config, int num_blocks, int block_size,
                            DType dtype) {
  KvCacheShape shape;
  shape.num_layers = config.num_layers;
  shape.num_blocks = num_blocks;
  shape.block_size = block_size;
  shape.num_kv_heads = config.num_kv_heads;
  shape.head_dim = config.head_dim;
  shape.dtype = dtype;
  return shape;
}

}  // namespace iol
