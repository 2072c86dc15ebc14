#include "quantization/manifest.h"

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "base/mapped_file.h"
#include "base/sha256.h"
#include "model/json_fields.h"

namespace iol {
namespace {

using nlohmann::json;

constexpr const char* kFormatName = "iol-engine-directory";
constexpr std::int64_t kMostBytes = std::int64_t{1} << 50;

json files_json(const std::vector<ManifestFile>& files) {
  json list = json::array();
  for (const auto& file : files)
    list.push_back({{"name", file.name}, {"size_bytes", file.size_bytes}, {"sha256", file.sha256}});
  return list;
}

json quantization_json(const Quantization& quantization) {
  return {{"format", weight_format_name(quantization.format)},
          {"group_size", quantization.group_size},
          {"head", weight_format_name(quantization.head)},
          {"keep", quantization.keep}};
}

json kv_cache_json(std::optional<DType> dtype) {
  if (!dtype) return "auto";
  return *dtype == DType::kI8 ? "int8" : dtype_name(*dtype);
}

/// All but the build's id and the files, which follow from it.
json description(const Manifest& manifest) {
  return {{"format", kFormatName},
          {"format_version", kManifestVersion},
          {"tool_version", manifest.tool_version},
          {"model", manifest.model},
          {"quantization", quantization_json(manifest.quantization)},
          {"kv_cache", kv_cache_json(manifest.kv_dtype)},
          {"calibration", manifest.calibration},
          {"source",
           {{"model", manifest.source_model},
            {"folder", manifest.source_folder},
            {"files", files_json(manifest.source_files)}}}};
}

bool is_hexadecimal(const std::string& text, std::size_t size) {
  return text.size() == size && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

/// A name that stays inside its folder and that an error message can show.
bool is_file_name(const std::string& name) {
  return !name.empty() && name.size() <= 255 && name != "." && name != ".." &&
         std::all_of(name.begin(), name.end(),
                     [](unsigned char c) { return c >= ' ' && c < 0x7f && c != '/'; });
}

std::string required_string(const JsonFields& fields, const std::string& name) {
  auto text = fields.string(name);
  if (!text) fields.refuse(name, "a string");
  return *std::move(text);
}

json required_object(const JsonFields& fields, const std::string& name) {
  const json* object = fields.object(name);
  if (object == nullptr) fields.refuse(name, "an object");
  return *object;
}

std::vector<ManifestFile> parse_files(const json& object, const std::string& origin,
                                      const std::string& prefix) {
  const JsonFields outer(object, origin, prefix);
  const auto found = object.find("files");
  if (found == object.end() || !found->is_array()) outer.refuse("files", "a list of files");
  std::vector<ManifestFile> files;
  for (const auto& entry : *found) {
    const JsonFields fields(entry, origin, prefix + "files.");
    ManifestFile file;
    file.name = required_string(fields, "name");
    const bool repeated = std::any_of(files.begin(), files.end(),
                                      [&](const auto& other) { return other.name == file.name; });
    if (!is_file_name(file.name) || repeated) fields.refuse("name", "the name of one more file");
    const auto size = fields.integer("size_bytes", 0, kMostBytes);
    if (!size) fields.refuse("size_bytes", "a number of bytes");
    file.size_bytes = *size;
    file.sha256 = required_string(fields, "sha256");
    if (!is_hexadecimal(file.sha256, 64)) fields.refuse("sha256", "64 hexadecimal digits");
    files.push_back(std::move(file));
  }
  return files;
}

WeightFormat parse_format(const JsonFields& fields, const std::string& name) {
  const auto format = parse_weight_format(required_string(fields, name));
  if (!format) fields.refuse(name, "none, int8, int8-wo, fp8 or int4");
  return *format;
}

Quantization parse_quantization(const json& object, const std::string& origin) {
  const JsonFields fields(object, origin, "quantization.");
  Quantization quantization;
  quantization.format = parse_format(fields, "format");
  quantization.head = parse_format(fields, "head");
  quantization.group_size = fields.required_integer("group_size", 8, 1 << 20);
  if (quantization.group_size % 16 != 0) fields.refuse("group_size", "a multiple of 16");
  quantization.keep = fields.strings("keep").value_or(std::vector<std::string>());
  return quantization;
}

std::optional<DType> parse_kv_cache(const JsonFields& fields) {
  const std::string name = required_string(fields, "kv_cache");
  if (name == "auto") return std::nullopt;
  const auto dtype = parse_dtype(name);
  const bool known = dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16 ||
                     dtype == DType::kI8 || dtype == DType::kF8E4M3;
  if (!known) fields.refuse("kv_cache", "auto, f32, f16, bf16, int8 or fp8");
  return dtype;
}

/// Parses, and forgets what lies deeper than any field: brackets must not overflow the stack.
json parse_shallow(std::string_view text, const std::string& origin) {
  constexpr int kDeepest = 12;
  bool too_deep = false;
  const auto watch = [&](int depth, json::parse_event_t, json&) {
    too_deep = too_deep || depth > kDeepest;
    return depth <= kDeepest;
  };
  json object = json::parse(text, watch, /*allow_exceptions=*/false);
  if (object.is_discarded() || !object.is_object() || too_deep) {
    throw_input_error("{}: not a JSON object; the file is truncated or broken: build it again",
                      origin);
  }
  return object;
}

void check_version(const JsonFields& fields) {
  const auto format = fields.has("format") ? fields.string("format") : std::nullopt;
  if (format != kFormatName) {
    throw_input_error(
        "{}: not the manifest of an engine directory ('format' is not {}); expected a folder that "
        "'iol build' wrote",
        fields.origin(), kFormatName);
  }
  const int version = fields.required_integer("format_version", 1, std::numeric_limits<int>::max());
  if (version > kManifestVersion) {
    throw_input_error(
        "{}: written in format version {}, and this iol ({}) reads up to {}; update iol, or build "
        "the directory again",
        fields.origin(), version, IOL_VERSION, kManifestVersion);
  }
}

}  // namespace

std::string build_id_of(const Manifest& manifest) {
  Sha256 hash;
  hash.add(description(manifest).dump(-1, ' ', false, json::error_handler_t::replace));
  return hash.hexadecimal().substr(0, 32);
}

std::string manifest_text(const Manifest& manifest) {
  json object = description(manifest);
  object["build_id"] = manifest.build_id;
  object["files"] = files_json(manifest.files);
  return object.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

Manifest parse_manifest(std::string_view text, const std::string& origin) {
  const json object = parse_shallow(text, origin);
  const JsonFields fields(object, origin);
  check_version(fields);
  Manifest manifest;
  manifest.tool_version = required_string(fields, "tool_version");
  manifest.build_id = required_string(fields, "build_id");
  if (!is_hexadecimal(manifest.build_id, 32)) fields.refuse("build_id", "32 hexadecimal digits");
  manifest.model = required_object(fields, "model");
  manifest.quantization = parse_quantization(required_object(fields, "quantization"), origin);
  manifest.kv_dtype = parse_kv_cache(fields);
  if (const json* calibration = fields.object("calibration")) manifest.calibration = *calibration;
  const json source = required_object(fields, "source");
  const JsonFields source_fields(source, origin, "source.");
  manifest.source_model = required_string(source_fields, "model");
  manifest.source_folder = required_string(source_fields, "folder");
  manifest.source_files = parse_files(source, origin, "source.");
  manifest.files = parse_files(object, origin, "");
  return manifest;
}

bool is_engine_directory(const std::filesystem::path& folder) {
  return path_exists(folder / kManifestName) && !path_exists(folder / "model.safetensors") &&
         !path_exists(folder / "model.safetensors.index.json");
}

Manifest load_manifest(const std::filesystem::path& folder) {
  const auto path = folder / kManifestName;
  const MappedFile file(path);
  return parse_manifest({reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()},
                        path.string());
}

}  // namespace iol
