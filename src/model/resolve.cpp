#include "model/resolve.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <vector>

#include "base/error.h"
#include "base/mapped_file.h"
#include "model/synthetic.h"

namespace iol {
namespace {

namespace fs = std::filesystem;

std::optional<fs::path> environment_path(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr || *value == '\0') return std::nullopt;
  return fs::path(value);
}

/// The cache folder, in huggingface_hub's order of precedence.
fs::path hub_cache() {
  if (const auto path = environment_path("HF_HUB_CACHE")) return *path;
  if (const auto path = environment_path("HUGGINGFACE_HUB_CACHE")) return *path;
  if (const auto path = environment_path("HF_HOME")) return *path / "hub";
  if (const auto path = environment_path("XDG_CACHE_HOME")) return *path / "huggingface" / "hub";
  return environment_path("HOME").value_or("/root") / ".cache" / "huggingface" / "hub";
}

bool is_hub_id(const std::string& model) {
  const auto slash = model.find('/');
  if (slash == 0 || slash == std::string::npos || slash + 1 == model.size()) return false;
  if (model.find('/', slash + 1) != std::string::npos || model.find("..") != std::string::npos)
    return false;
  return std::all_of(model.begin(), model.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '/' || c == '-' || c == '_' || c == '.';
  });
}

std::optional<fs::path> find_in_hub_cache(const std::string& id) {
  std::string folder = "models--" + id;
  folder.replace(folder.find('/'), 1, "--");
  const fs::path repository = hub_cache() / folder;
  std::ifstream reference(repository / "refs" / "main");
  std::string revision;
  if (reference >> revision) {
    const fs::path snapshot = repository / "snapshots" / revision;
    if (path_exists(snapshot / "config.json")) return snapshot;
  }
  // Downloaded at a revision without a branch: any complete snapshot will do.
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(repository / "snapshots", error)) {
    if (path_exists(entry.path() / "config.json")) return entry.path();
  }
  return std::nullopt;
}

fs::path executable_folder() {
  std::error_code error;
  return fs::read_symlink("/proc/self/exe", error).parent_path();
}

}  // namespace

std::optional<fs::path> find_shipped(const std::string& name) {
  if (const auto folder = environment_path("IOL_MODELS_DIR")) {
    if (path_exists(*folder / name)) return *folder / name;
  }
  std::vector<fs::path> candidates = {executable_folder() / ".." / "share" / "iol" / "models"};
  std::error_code gone;  // the working directory may have been removed
  for (fs::path folder : {executable_folder(), fs::current_path(gone)}) {
    for (; folder.has_relative_path(); folder = folder.parent_path())
      candidates.push_back(folder / "models");
  }
  for (const auto& candidate : candidates) {
    if (path_exists(candidate / name)) return fs::weakly_canonical(candidate / name);
  }
  return std::nullopt;
}

ResolvedModel resolve_model(const std::string& model) {
  constexpr std::string_view kSynthetic = "synthetic:";
  if (model.starts_with(kSynthetic)) return {{}, model.substr(kSynthetic.size())};
  std::error_code error;
  if (fs::is_directory(model, error)) return {model, std::nullopt};
  if (fs::exists(model, error)) {
    throw_input_error("'{}' is a file; expected a model folder, a Hub id, demo or synthetic:NAME",
                      model);
  }
  if (model == "demo" || model == "demo-draft") {
    const char* shipped = model == "demo" ? "books-16m" : "books-2m";
    if (const auto folder = find_shipped(shipped)) return {*folder, std::nullopt};
    throw_input_error(
        "the {} model ({}) was not found beside the program; set IOL_MODELS_DIR to the folder that "
        "holds it",
        model, shipped);
  }
  if (is_hub_id(model)) {
    if (const auto folder = find_in_hub_cache(model)) return {*folder, std::nullopt};
    throw_input_error(
        "'{}' is neither a folder nor in the local cache {}; download it with: hf download {}",
        model, hub_cache().string(), model);
  }
  throw_input_error(
      "'{}' is not a folder; expected a model folder, a Hub id (org/name), demo or synthetic:NAME",
      model);
}

ModelConfig load_model_config(const ResolvedModel& model) {
  return model.synthetic ? synthetic_config(*model.synthetic) : load_model_config(model.folder);
}

}  // namespace iol
