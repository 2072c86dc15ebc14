#pragma once
// manifest.json: what an engine directory holds and where it came from.
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "backend/weight_format.h"
#include "base/dtype.h"

namespace iol {

inline constexpr int kManifestVersion = 1;
inline constexpr const char* kManifestName = "manifest.json";

struct ManifestFile {
  std::string name;  // in its folder
  std::int64_t size_bytes = 0;
  std::string sha256;  // 64 lower-case digits

  bool operator==(const ManifestFile&) const = default;
};

struct Manifest {
  std::string tool_version;
  /// Names this build: equal for builds of the same source in the same way. Each weights file
  /// carries it too, so that a file of another build is told from its own.
  std::string build_id;
  /// {architecture, dtype, parameters, config}: config is the content of the source's config.json.
  nlohmann::json model;
  Quantization quantization;
  std::optional<DType> kv_dtype;  // the default when loaded; nothing: as the compute dtype
  nlohmann::json calibration;     // null, or an object that says how weights were calibrated
  std::string source_model;       // as the user named it
  std::string source_folder;      // absolute, when it was built
  std::vector<ManifestFile> source_files;
  std::vector<ManifestFile> files;  // all but the manifest
};

/// SHA-256 over all that decides the contents, as 32 digits.
std::string build_id_of(const Manifest& manifest);

/// The text of manifest.json.
std::string manifest_text(const Manifest& manifest);

/// Every field is checked; names stay inside the folder. Throws InputError naming `origin` and the
/// field: also for a manifest of another program, and for one that a newer version wrote.
Manifest parse_manifest(std::string_view text, const std::string& origin);

/// Whether the folder is an engine directory: it holds a manifest.json and no checkpoint.
bool is_engine_directory(const std::filesystem::path& folder);

/// Reads folder/manifest.json.
Manifest load_manifest(const std::filesystem::path& folder);

}  // namespace iol
