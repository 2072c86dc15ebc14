#include "quantization/staged_directory.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/error.h"

namespace iol {
namespace {

namespace fs = std::filesystem;

/// Absolute, without a trailing slash, links followed.
fs::path normal_target(const fs::path& target) {
  std::error_code error;
  fs::path absolute = fs::absolute(target).lexically_normal();
  if (!absolute.has_filename()) absolute = absolute.parent_path();
  const fs::path resolved = fs::weakly_canonical(absolute, error);
  return error ? absolute : resolved;
}

void check_target(const fs::path& target, const fs::path& asked) {
  std::error_code error;
  if (!fs::is_directory(target.parent_path(), error)) {
    throw_input_error("-o {}: the folder {} does not exist; create it first", asked.string(),
                      target.parent_path().string());
  }
  const auto status = fs::status(target, error);
  if (!fs::exists(status)) return;
  if (!fs::is_directory(status))
    throw_input_error("-o {}: exists and is not a folder; choose another name", asked.string());
  if (!fs::is_empty(target, error)) {
    throw_input_error("-o {}: exists and is not empty; remove it, or choose another name",
                      asked.string());
  }
}

void sync_directory(const fs::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;  // a directory that can't be read can't be synced either
  ::fsync(descriptor);
  ::close(descriptor);
}

}  // namespace

StagedDirectory::StagedDirectory(const fs::path& target) : target_(normal_target(target)) {
  check_target(target_, target);
  std::string name =
      (target_.parent_path() / ("." + target_.filename().string() + ".building-XXXXXX")).string();
  if (::mkdtemp(name.data()) == nullptr) {
    throw_resource_error("-o {}: can't create a folder in {}: {}", target.string(),
                         target_.parent_path().string(), std::strerror(errno));
  }
  staging_ = name;
  const mode_t mask = ::umask(0);
  ::umask(mask);
  ::chmod(name.c_str(), 0777 & ~mask);
}

StagedDirectory::~StagedDirectory() {
  if (committed_) return;
  std::error_code ignored;
  fs::remove_all(staging_, ignored);
}

void StagedDirectory::commit() {
  sync_directory(staging_);
  if (std::rename(staging_.c_str(), target_.c_str()) != 0) {
    throw_resource_error("can't name the finished folder {}: {}; nothing was kept",
                         target_.string(), std::strerror(errno));
  }
  committed_ = true;
  sync_directory(target_.parent_path());
}

}  // namespace iol
