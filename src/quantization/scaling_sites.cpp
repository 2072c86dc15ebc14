#include "quantization/scaling_sites.h"

#include <fmt/format.h>

#include "base/error.h"

namespace iol {
namespace {

ScalingSite make_site(int layer, LinearInput input, std::int64_t num_columns) {
  ScalingSite site;
  site.layer = layer;
  site.input = input;
  site.num_columns = num_columns;
  site.num_producer_rows = num_columns;
  site.head_dim = num_columns;
  return site;
}

void add_layer(const ModelConfig& config, int layer, std::vector<ScalingSite>& sites) {
  const auto name = [&](std::string_view rest) {
    return fmt::format("model.layers.{}.{}", layer, rest);
  };
  const std::int64_t hidden = config.hidden_size;
  const std::int64_t intermediate = config.intermediate_size;
  const std::int64_t query_rows = std::int64_t{config.num_heads} * config.head_dim;
  const std::int64_t kv_rows = std::int64_t{config.num_kv_heads} * config.head_dim;

  ScalingSite qkv = make_site(layer, LinearInput::kQkv, hidden);
  qkv.consumers = {name("self_attn.q_proj.weight"), name("self_attn.k_proj.weight"),
                   name("self_attn.v_proj.weight")};
  qkv.consumer_rows = {query_rows, kv_rows, kv_rows};
  qkv.producers = {name("input_layernorm.weight")};
  sites.push_back(std::move(qkv));

  ScalingSite output = make_site(layer, LinearInput::kOutput, query_rows);
  output.num_producer_rows = kv_rows;
  output.head_dim = config.head_dim;
  output.group = config.num_heads / config.num_kv_heads;
  output.consumers = {name("self_attn.o_proj.weight")};
  output.consumer_rows = {hidden};
  output.producers = {name("self_attn.v_proj.weight")};
  if (config.qkv_bias) output.producers.push_back(name("self_attn.v_proj.bias"));
  sites.push_back(std::move(output));

  ScalingSite gate_up = make_site(layer, LinearInput::kGateUp, hidden);
  gate_up.consumers = {name("mlp.gate_proj.weight"), name("mlp.up_proj.weight")};
  gate_up.consumer_rows = {intermediate, intermediate};
  gate_up.producers = {name("post_attention_layernorm.weight")};
  sites.push_back(std::move(gate_up));

  ScalingSite down = make_site(layer, LinearInput::kDown, intermediate);
  down.consumers = {name("mlp.down_proj.weight")};
  down.consumer_rows = {hidden};
  down.producers = {name("mlp.up_proj.weight")};
  if (config.mlp_bias) down.producers.push_back(name("mlp.up_proj.bias"));
  sites.push_back(std::move(down));
}

}  // namespace

std::string_view linear_input_name(LinearInput input) {
  switch (input) {
    case LinearInput::kQkv:
      return "qkv";
    case LinearInput::kOutput:
      return "output";
    case LinearInput::kGateUp:
      return "gate_up";
    case LinearInput::kDown:
      return "down";
  }
  IOL_CHECK(!"an input");
}

std::vector<float> ScalingSite::expanded(const std::vector<float>& values) const {
  std::vector<float> columns(static_cast<std::size_t>(num_columns));
  for (std::int64_t k = 0; k < num_columns; ++k)
    columns[static_cast<std::size_t>(k)] = values[static_cast<std::size_t>(producer_row(k))];
  return columns;
}

std::vector<float> ScalingSite::pooled(const std::vector<float>& values,
                                       const std::function<float(float, float)>& combine) const {
  std::vector<float> rows(static_cast<std::size_t>(num_producer_rows), 0.0F);
  for (std::int64_t k = 0; k < num_columns; ++k) {
    auto& row = rows[static_cast<std::size_t>(producer_row(k))];
    row = combine(row, values[static_cast<std::size_t>(k)]);
  }
  return rows;
}

std::vector<ScalingSite> scaling_sites(const ModelConfig& config) {
  std::vector<ScalingSite> sites;
  for (int layer = 0; layer < config.num_layers; ++layer) add_layer(config, layer, sites);
  return sites;
}

}  // namespace iol
