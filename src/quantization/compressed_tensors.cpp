// compressed-tensors, the format of LLM Compressor. `config_groups` gives schemes to modules by
// class ("Linear"), name or pattern ("re:..."), `ignore` takes modules out again:
//
//   float-quantized  MODULE.weight F8_E4M3 [N, K], weight_scale                           fp8
//   int-quantized    MODULE.weight I8 [N, K], weight_scale                      int8, int8-wo
//   pack-quantized   MODULE.weight_packed (pack_quantized.cpp)                  int4, int8-wo
//
// with weight_scale per tensor, per channel [N, 1] or, in int4, per group [N, G]. Static scales of
// activations (input_scale) are not used: ours get a scale of their own for every token, which is
// at least as precise.
#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "quantization/checkpoint_format.h"
#include "quantization/name_pattern.h"
#include "quantization/pack_quantized.h"

namespace iol {
namespace {

struct ConfigGroup {
  std::vector<NamePattern> targets;
  MatrixScheme scheme;
  std::optional<PackedScheme> packed;  // nothing: one byte each
};

class CompressedTensorsFormat final : public CheckpointFormat {
 public:
  CompressedTensorsFormat(std::vector<ConfigGroup> groups, std::vector<NamePattern> ignored)
      : groups_(std::move(groups)), ignored_(std::move(ignored)) {}

  [[nodiscard]] std::optional<MatrixScheme> scheme_of(const StoredMatrix& stored) const override {
    const HostTensor* weight = stored.find("weight");
    const bool is_stored_quantized =
        stored.find("weight_packed") != nullptr ||
        (weight != nullptr && (weight->dtype == DType::kF8E4M3 || weight->dtype == DType::kI8));
    const ConfigGroup* group = group_of(stored.module());
    if (group == nullptr) {
      if (is_stored_quantized) {
        stored.refuse(weight == nullptr ? "weight_packed" : "weight",
                      "is quantized, but no target of quantization_config.config_groups names it, "
                      "or 'ignore' does; config.json belongs to another checkpoint");
      }
      return std::nullopt;
    }
    if (group->packed && stored.find("weight_packed") == nullptr) stored.missing("weight_packed");
    if (!group->packed && !is_stored_quantized) {
      if (weight == nullptr) stored.missing("weight");
      stored.refuse("weight", fmt::format("is {}, but quantization_config says that it is "
                                          "quantized; config.json belongs to another checkpoint",
                                          dtype_name(weight->dtype)));
    }
    return group->scheme;
  }

  [[nodiscard]] UnpackedMatrix unpack(const StoredMatrix& stored) const override {
    const ConfigGroup* group = group_of(stored.module());
    IOL_CHECK(group != nullptr);
    if (group->packed) return unpack_pack_quantized(stored, *group->packed);
    return unpack_bytes(stored, group->scheme.format, "weight_scale");
  }

 private:
  /// A target that names the module goes before one that names its class.
  [[nodiscard]] const ConfigGroup* group_of(const std::string& module) const {
    const auto names = [&](const NamePattern& pattern) { return pattern.matches(module); };
    if (std::any_of(ignored_.begin(), ignored_.end(), names)) return nullptr;
    const bool is_linear = !module.ends_with("embed_tokens");
    const auto is_class = [&](const NamePattern& pattern) {
      return pattern.text() == (is_linear ? "Linear" : "Embedding");
    };
    if (std::any_of(ignored_.begin(), ignored_.end(), is_class)) return nullptr;
    for (const auto& group : groups_) {
      if (std::any_of(group.targets.begin(), group.targets.end(), names)) return &group;
    }
    for (const auto& group : groups_) {
      if (std::any_of(group.targets.begin(), group.targets.end(), is_class)) return &group;
    }
    return nullptr;
  }

  std::vector<ConfigGroup> groups_;
  std::vector<NamePattern> ignored_;
};

std::vector<NamePattern> read_patterns(const JsonFields& fields, const std::string& name) {
  std::vector<NamePattern> patterns;
  for (const auto& text : fields.strings(name).value_or(std::vector<std::string>())) {
    try {
      patterns.emplace_back(text);
    } catch (const std::invalid_argument& error) {
      throw_input_error("{}: the pattern '{}' in '{}' is not supported: {}", fields.origin(),
                        shown_name(text), name, error.what());
    }
  }
  return patterns;
}

enum class Strategy : std::uint8_t { kTensor, kChannel, kGroup };

Strategy read_strategy(const JsonFields& weights) {
  const auto name = weights.string("strategy");
  if (!name) {  // older files leave it to the group size
    const auto group_size = weights.integer("group_size", -1, 1 << 20);
    if (!group_size) return Strategy::kTensor;
    return *group_size > 0 ? Strategy::kGroup : Strategy::kChannel;
  }
  if (*name == "tensor") return Strategy::kTensor;
  if (*name == "channel") return Strategy::kChannel;
  if (*name == "group") return Strategy::kGroup;
  refuse_setting(weights, "strategy", "tensor, channel or group for compressed-tensors");
}

/// Our activations are quantized symmetrically, per token.
void check_activations(const JsonFields& activations, const std::string& type) {
  if (activations.string("type").value_or("int") != type)
    refuse_setting(activations, "type", type + ", as the weights are");
  if (activations.integer("num_bits", 1, 32).value_or(8) != 8)
    refuse_setting(activations, "num_bits", "8 for compressed-tensors");
  if (!activations.boolean("symmetric").value_or(true))
    refuse_setting(activations, "symmetric", "true for compressed-tensors");
  const auto strategy = activations.string("strategy").value_or("tensor");
  if (strategy != "tensor" && strategy != "token")
    refuse_setting(activations, "strategy", "tensor or token for compressed-tensors");
}

void read_bytes(const JsonFields& group, const JsonFields& weights, const std::string& form,
                ConfigGroup& read) {
  const std::string type = weights.string("type").value_or("int");
  if (weights.integer("num_bits", 1, 32).value_or(8) != 8)
    refuse_setting(weights, "num_bits", "8 for compressed-tensors' " + form);
  if (read_strategy(weights) == Strategy::kGroup)
    refuse_setting(weights, "strategy", "tensor or channel for compressed-tensors' " + form);
  if (!weights.boolean("symmetric").value_or(true))
    refuse_setting(weights, "symmetric", "true for compressed-tensors' " + form);
  const bool is_float = type == "float";
  if ((!is_float && type != "int") || (is_float && form == "int-quantized") ||
      (!is_float && form == "float-quantized")) {
    refuse_setting(weights, "type", is_float ? "int for int-quantized" : "float or int");
  }
  const bool quantizes_inputs = group.has("input_activations");
  if (is_float && !quantizes_inputs)
    refuse_setting(group, "input_activations", "quantized to fp8 as well for float-quantized");
  if (is_float) {
    read.scheme.format = WeightFormat::kFp8;
  } else {
    read.scheme.format = quantizes_inputs ? WeightFormat::kInt8 : WeightFormat::kInt8WeightOnly;
  }
}

void read_packed(const JsonFields& group, const JsonFields& weights, ConfigGroup& read) {
  if (weights.string("type").value_or("int") != "int")
    refuse_setting(weights, "type", "int for pack-quantized");
  if (group.has("input_activations"))
    refuse_setting(group, "input_activations", "none for pack-quantized (weights alone)");
  PackedScheme packed;
  const auto bits = weights.integer("num_bits", 1, 32).value_or(8);
  if (bits != 4 && bits != 8) refuse_setting(weights, "num_bits", "4 or 8 for pack-quantized");
  packed.bits = static_cast<int>(bits);
  packed.has_zero_points = !weights.boolean("symmetric").value_or(true);
  const Strategy strategy = read_strategy(weights);
  packed.one_scale = strategy == Strategy::kTensor;
  if (strategy == Strategy::kGroup) packed.group_size = read_group_size(weights, "group_size");
  if (bits == 8 && (packed.group_size != 0 || packed.has_zero_points)) {
    refuse_setting(weights, packed.has_zero_points ? "symmetric" : "strategy",
                   packed.has_zero_points ? "true for 8 bits" : "channel or tensor for 8 bits");
  }
  if (packed.one_scale && packed.has_zero_points)
    refuse_setting(weights, "strategy", "channel or group for weights with zero points");
  read.scheme.format = bits == 4 ? WeightFormat::kInt4 : WeightFormat::kInt8WeightOnly;
  read.scheme.group_size = packed.group_size;
  read.packed = packed;
}

ConfigGroup read_group(const JsonFields& group, const std::string& prefix,
                       const std::string& model_form) {
  ConfigGroup read;
  read.targets = read_patterns(group, "targets");
  if (read.targets.empty()) group.refuse("targets", "a list of modules");
  if (group.has("output_activations"))
    refuse_setting(group, "output_activations", "none for compressed-tensors");
  const nlohmann::json* settings = group.object("weights");
  if (settings == nullptr) refuse_setting(group, "weights", "how weights are quantized");
  const JsonFields weights(*settings, group.origin(), prefix + "weights.");
  const std::string form = group.string("format").value_or(model_form);
  if (form == "pack-quantized") {
    read_packed(group, weights, read);
  } else if (form == "float-quantized" || form == "int-quantized" || form == "naive-quantized") {
    read_bytes(group, weights, form, read);
  } else {
    throw_input_error(
        "{}: compressed-tensors' format '{}' is not supported; expected float-quantized, "
        "int-quantized or pack-quantized, or the unquantized checkpoint with --quant",
        group.origin(), shown_name(form));
  }
  if (const nlohmann::json* inputs = group.object("input_activations")) {
    check_activations(JsonFields(*inputs, group.origin(), prefix + "input_activations."),
                      read.scheme.format == WeightFormat::kFp8 ? "float" : "int");
  }
  return read;
}

}  // namespace

CheckpointFormatPtr make_compressed_tensors_format(const JsonFields& fields) {
  if (const nlohmann::json* sparsity = fields.object("sparsity_config");
      sparsity != nullptr && !sparsity->empty()) {
    const JsonFields inner(*sparsity, fields.origin(), "quantization_config.sparsity_config.");
    if (inner.string("format").value_or("dense") != "dense")
      refuse_setting(inner, "format", "dense for compressed-tensors (no 2:4 sparsity)");
  }
  if (const nlohmann::json* transforms = fields.object("transform_config");
      transforms != nullptr && !transforms->empty()) {
    refuse_setting(fields, "transform_config", "none for compressed-tensors");
  }
  const nlohmann::json* config_groups = fields.object("config_groups");
  if (config_groups == nullptr || config_groups->empty())
    refuse_setting(fields, "config_groups", "an object of groups");
  const std::string form = fields.string("format").value_or("dense");
  std::vector<ConfigGroup> groups;
  for (const auto& [name, settings] : config_groups->items()) {
    const std::string prefix = "quantization_config.config_groups." + shown_name(name) + ".";
    groups.push_back(read_group(JsonFields(settings, fields.origin(), prefix), prefix, form));
  }
  return std::make_unique<CompressedTensorsFormat>(std::move(groups),
                                                   read_patterns(fields, "ignore"));
}

}  // namespace iol
