#include "report/write_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "base/error.h"

namespace iol::report {
namespace {

/// Closes and removes the temporary file unless it has been moved into place.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::filesystem::path& target)
      : target_(target), path_(target.string() + ".tmp" + std::to_string(::getpid())) {
    descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (descriptor_ < 0) fail("can't be created");
  }
  ~TemporaryFile() {
    if (descriptor_ >= 0) ::close(descriptor_);
    if (!moved_) ::unlink(path_.c_str());
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  void write(std::string_view content) {
    while (!content.empty()) {
      const ssize_t written = ::write(descriptor_, content.data(), content.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) fail("can't be written");
      content.remove_prefix(static_cast<std::size_t>(written));
    }
    // Some file systems report a full disk only here. Pipes and the like can't be synchronized.
    if (::fsync(descriptor_) != 0 && errno != EINVAL) fail("can't be written");
  }

  void move_into_place() {
    const int descriptor = descriptor_;
    descriptor_ = -1;
    if (::close(descriptor) != 0) fail("can't be written");
    if (::rename(path_.c_str(), target_.c_str()) != 0) fail("can't be replaced");
    moved_ = true;
  }

 private:
  [[noreturn]] void fail(const char* what) const {
    throw_resource_error("{}: {}: {}; free some space or choose another folder with -o",
                         target_.string(), what, std::strerror(errno));
  }

  std::filesystem::path target_;
  std::string path_;
  int descriptor_ = -1;
  bool moved_ = false;
};

}  // namespace

void write_file_atomically(const std::filesystem::path& path, std::string_view content) {
  TemporaryFile file(path);
  file.write(content);
  file.move_into_place();
}

}  // namespace iol::report
