#pragma once
// A small checkpoint built into an engine directory, for tests to open and to break.
#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>

#include "base/sha256.h"
#include "model/checkpoint.h"
#include "quantization/engine_directory_writer.h"
#include "tests/temporary_folder.h"

namespace iol::test {

inline const std::filesystem::path kModels = IOL_SOURCE_DIR "/tests/goldens/models";

inline std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline std::string sha256_of(const std::string& text) {
  Sha256 hash;
  hash.add(text);
  return hash.hexadecimal();
}

inline Quantization quantization(WeightFormat format, int group_size = kDefaultGroupSize) {
  Quantization quantization;
  quantization.format = format;
  quantization.group_size = group_size;
  return quantization;
}

class BuiltModel : public testing::Test {
 protected:
  [[nodiscard]] std::filesystem::path directory() const { return folder_.path() / "built"; }

  /// Builds tests/goldens/models/`name` into directory().
  BuildResult build(const std::string& name, const Quantization& quantization,
                    const std::function<void(BuildRequest&)>& change = {},
                    const BuildProgress& progress = {}) const {
    BuildRequest request;
    request.output = directory();
    request.source_model = name;
    request.source_folder = kModels / name;
    request.quantization = quantization;
    request.num_threads = 2;
    if (change) change(request);
    Checkpoint weights(request.source_folder);
    return write_engine_directory(request, load_model_config(request.source_folder), weights,
                                  progress);
  }

  void write(const std::string& file, const std::string& content) const {
    folder_.write("built/" + file, content);
  }
  /// Replaces a file and makes the manifest agree with it.
  void forge(const std::string& file, const std::string& content) const {
    write(file, content);
    change_manifest([&](nlohmann::json& manifest) {
      for (auto& entry : manifest["files"]) {
        if (entry["name"] != file) continue;
        entry["size_bytes"] = content.size();
        entry["sha256"] = sha256_of(content);
      }
    });
  }
  void change_manifest(const std::function<void(nlohmann::json&)>& change) const {
    auto manifest = nlohmann::json::parse(read_file(directory() / "manifest.json"));
    change(manifest);
    write("manifest.json", manifest.dump());
  }
  /// The names beside the engine directory: what a build leaves behind.
  [[nodiscard]] std::vector<std::string> leavings() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder_.path()))
      names.push_back(entry.path().filename().string());
    return names;
  }

  TemporaryFolder folder_;
};

}  // namespace iol::test
