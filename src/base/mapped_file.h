#pragma once
#include <cstddef>
#include <filesystem>
#include <span>

namespace iol {

/// Whether the path leads to something. Unlike std::filesystem::exists() it does not throw for a
/// link to itself or a name that is too long: nothing can be read there.
bool path_exists(const std::filesystem::path& path) noexcept;

/// Gives the whole pages inside `bytes`, a part of a mapped file, back to the kernel. They are read
/// again when they are touched again.
void release_pages(std::span<const std::byte> bytes);

/// A whole file mapped read-only. Move-only; the view dies with the object.
class MappedFile {
 public:
  /// Throws InputError naming the path when it is missing, not a regular file, or unreadable.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  [[nodiscard]] std::span<const std::byte> bytes() const { return {data_, size_bytes_}; }
  /// Tells the kernel that the whole file will be read soon, in order.
  void will_read() const;

 private:
  const std::byte* data_ = nullptr;
  std::size_t size_bytes_ = 0;
};

}  // namespace iol
