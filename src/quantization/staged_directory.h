#pragma once
#include <filesystem>

namespace iol {

/// A directory that appears under its name as a whole or not at all: files are made in a temporary
/// sibling, which commit() renames. Without a commit the sibling is removed; after a kill it may
/// stay behind as `.NAME.building-XXXXXX`, which nothing loads and which may be deleted.
class StagedDirectory {
 public:
  /// Throws InputError when `target` exists and is not an empty directory, or its parent does not
  /// exist; ResourceError when nothing can be created there.
  explicit StagedDirectory(const std::filesystem::path& target);
  ~StagedDirectory();
  StagedDirectory(const StagedDirectory&) = delete;
  StagedDirectory& operator=(const StagedDirectory&) = delete;

  /// Where to make the files.
  [[nodiscard]] const std::filesystem::path& path() const { return staging_; }
  /// Renames, once everything is on the disk.
  void commit();

 private:
  std::filesystem::path target_;
  std::filesystem::path staging_;
  bool committed_ = false;
};

}  // namespace iol
