#pragma once
// A draft model for books-2m that agrees with it often but not always: its own weights under
// another rotary base.
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

namespace iol::test {

class DraftFolder {
 public:
  /// `changes`, an object, replaces fields of config.json.
  explicit DraftFolder(const std::string& changes = "{}") {
    namespace fs = std::filesystem;
    static std::atomic<int> count{0};
    path_ = fs::temp_directory_path() /
            ("iol-draft-" + std::to_string(::getpid()) + "-" + std::to_string(count++));
    fs::create_directories(path_);
    const fs::path source = fs::path(IOL_SOURCE_DIR) / "models" / "books-2m";
    for (const char* name : {"model.safetensors", "tokenizer.json", "generation_config.json"})
      fs::create_symlink(source / name, path_ / name);
    std::ifstream file(source / "config.json");
    auto config = nlohmann::json::parse(file);
    config["rope_parameters"]["rope_theta"] = 4000.0;
    config.merge_patch(nlohmann::json::parse(changes));
    std::ofstream(path_ / "config.json") << config.dump();
  }
  ~DraftFolder() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  DraftFolder(const DraftFolder&) = delete;
  DraftFolder& operator=(const DraftFolder&) = delete;

  [[nodiscard]] std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

}  // namespace iol::test
