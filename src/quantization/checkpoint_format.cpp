#include "quantization/checkpoint_format.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <vector>

#include "base/error.h"
#include "base/mapped_file.h"

namespace iol {
namespace {

using nlohmann::json;

struct Family {
  std::string_view quant_method;
  CheckpointFormatPtr (*make)(const JsonFields& fields);
};

constexpr std::array kFamilies{Family{"compressed-tensors", make_compressed_tensors_format},
                               Family{"awq", make_awq_format}, Family{"gptq", make_gptq_format},
                               Family{"fp8", make_fp8_format},
                               Family{"modelopt", make_modelopt_format}};

json parse_object(std::string_view text, const std::string& origin) {
  json object = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (object.is_discarded() || !object.is_object())
    throw_input_error("{}: not a JSON object; the file is broken or truncated", origin);
  return object;
}

CheckpointFormatPtr parse_quantization_config(const JsonFields& fields) {
  const auto method = fields.string("quant_method");
  const auto family = std::find_if(kFamilies.begin(), kFamilies.end(),
                                   [&](const Family& row) { return row.quant_method == method; });
  if (family == kFamilies.end()) {
    std::vector<std::string_view> names;
    for (const auto& row : kFamilies) names.push_back(row.quant_method);
    refuse_setting(fields, "quant_method", fmt::format("{}", fmt::join(names, ", ")));
  }
  return family->make(fields);
}

std::string_view view_of(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

}  // namespace

void refuse_setting(const JsonFields& fields, const std::string& name,
                    const std::string& expected) {
  fields.refuse(name, expected + ", or the unquantized checkpoint with --quant");
}

std::int64_t read_group_size(const JsonFields& fields, const std::string& name) {
  constexpr std::int64_t kMost = 1 << 20;
  const auto size = fields.integer(name, -1, kMost);
  if (!size || *size == 0 || (*size > 0 && *size % 16 != 0))
    refuse_setting(fields, name, "a multiple of 16, or -1 for whole rows");
  return std::max<std::int64_t>(*size, 0);
}

CheckpointFormatPtr parse_checkpoint_format(std::string_view config,
                                            std::string_view hf_quant_config,
                                            const std::filesystem::path& folder) {
  const std::string config_origin = (folder / "config.json").string();
  const json config_object = parse_object(config, config_origin);
  const JsonFields config_fields(config_object, config_origin);
  if (const json* settings = config_fields.object("quantization_config"))
    return parse_quantization_config(JsonFields(*settings, config_origin, "quantization_config."));
  if (hf_quant_config.empty()) return nullptr;
  const std::string origin = (folder / "hf_quant_config.json").string();
  const json object = parse_object(hf_quant_config, origin);
  const JsonFields fields(object, origin);
  const json* settings = fields.object("quantization");
  if (settings == nullptr) fields.refuse("quantization", "an object, as ModelOpt writes it");
  return make_modelopt_format(JsonFields(*settings, origin, "quantization."));
}

CheckpointFormatPtr read_checkpoint_format(const std::filesystem::path& folder) {
  if (!path_exists(folder / "config.json"))
    return nullptr;  // no checkpoint, as its reader will say
  const MappedFile config(folder / "config.json");
  const auto path = folder / "hf_quant_config.json";
  if (!path_exists(path)) return parse_checkpoint_format(view_of(config), {}, folder);
  const MappedFile hf_quant_config(path);
  return parse_checkpoint_format(view_of(config), view_of(hf_quant_config), folder);
}

}  // namespace iol
