#include "bench/installed_files.h"

namespace iol::bench {

std::filesystem::path executable_path() {
  std::error_code error;
  return std::filesystem::read_symlink("/proc/self/exe", error);
}

std::optional<std::filesystem::path> find_installed_file(const std::filesystem::path& relative) {
  std::error_code error;
  auto folder = executable_path().parent_path();
  while (!folder.empty()) {
    for (const auto& candidate : {folder / relative, folder / "share/iol" / relative}) {
      if (std::filesystem::exists(candidate, error)) return candidate;
    }
    if (folder == folder.parent_path()) break;
    folder = folder.parent_path();
  }
  return std::nullopt;
}

}  // namespace iol::bench
