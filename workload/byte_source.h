#pragma once
// The bytes of a file, read in order, plain or gzip.
#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>

namespace iol {

/// Reads a file once from front to end; a gzip file (by its first bytes, not by its name) is
/// decompressed on the way. Move-only.
class ByteSource {
 public:
  /// Throws InputError when the file is missing, not a regular file, or unreadable.
  explicit ByteSource(const std::filesystem::path& path);
  ~ByteSource();
  ByteSource(ByteSource&& other) noexcept;
  ByteSource& operator=(ByteSource&&) = delete;

  /// Up to `size` bytes; fewer only at the end, 0 when there are no more. Throws InputError for a
  /// gzip file that is cut off or damaged.
  std::size_t read(char* bytes, std::size_t size);
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  struct File;
  std::unique_ptr<File> file_;
  std::string path_;
};

}  // namespace iol
