#pragma once
#include <filesystem>
#include <optional>

namespace iol::bench {

/// Finds a file that comes with the program, such as "models/heldout.txt": in a folder above the
/// executable (a source tree with its build folder) or in share/iol beside its bin folder.
std::optional<std::filesystem::path> find_installed_file(const std::filesystem::path& relative);

/// The program that is running.
std::filesystem::path executable_path();

}  // namespace iol::bench
