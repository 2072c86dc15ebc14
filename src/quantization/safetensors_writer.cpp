#include "quantization/safetensors_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace iol {
namespace {

constexpr std::int64_t kAlignment = 64;

[[noreturn]] void fail(const std::filesystem::path& path, int reason) {
  throw_resource_error("can't write {}: {}; nothing was kept: free space, or choose another place",
                       path.string(), std::strerror(reason));
}

int create(const std::filesystem::path& path) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (file < 0) fail(path, errno);
  return file;
}

/// Takes the room on the disk now: a full disk shows before the work, not after it.
void reserve(int file, std::int64_t size_bytes, const std::filesystem::path& path) {
  if (size_bytes == 0 || ::fallocate(file, 0, 0, size_bytes) == 0) return;
  if (errno != EOPNOTSUPP && errno != ENOSYS && errno != EINVAL) fail(path, errno);
}

void write_at(int file, std::int64_t offset, std::span<const std::byte> bytes,
              const std::filesystem::path& path) {
  while (!bytes.empty()) {
    const auto written = ::pwrite(file, bytes.data(), bytes.size(), offset);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) fail(path, written < 0 ? errno : ENOSPC);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
    offset += written;
  }
}

/// The largest power of two that divides the size, at most kAlignment.
std::int64_t alignment_of(const TensorHeader& tensor) {
  const std::int64_t size = tensor.size_bytes();
  return size == 0 ? 1 : std::min(size & -size, kAlignment);
}

}  // namespace

std::int64_t TensorHeader::size_bytes() const {
  auto bytes = static_cast<std::int64_t>(dtype_bytes(dtype));
  for (const auto extent : shape) bytes *= extent;
  return bytes;
}

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path,
                                     std::vector<TensorHeader> tensors,
                                     const std::map<std::string, std::string>& metadata)
    : path_(path) {
  std::stable_sort(tensors.begin(), tensors.end(),
                   [](const auto& a, const auto& b) { return alignment_of(a) > alignment_of(b); });
  nlohmann::ordered_json header;
  header["__metadata__"] = metadata;
  std::int64_t end = 0;
  for (const auto& tensor : tensors) {
    const std::int64_t begin = end;
    end += tensor.size_bytes();
    begins_[tensor.name] = begin;
    header[tensor.name] = {{"dtype", safetensors_name(tensor.dtype)},
                           {"shape", tensor.shape},
                           {"data_offsets", {begin, end}}};
  }
  std::string text = header.dump();
  constexpr std::size_t kLengthBytes = 8;
  while ((kLengthBytes + text.size()) % kAlignment != 0) text += ' ';
  const std::uint64_t num_header_bytes = text.size();  // little-endian, as every host we run on
  std::string prefix(kLengthBytes, '\0');
  std::memcpy(prefix.data(), &num_header_bytes, kLengthBytes);
  text = prefix + text;

  const auto data_begin = static_cast<std::int64_t>(text.size());
  for (auto& [name, begin] : begins_) begin += data_begin;
  file_ = create(path);
  try {
    reserve(file_, data_begin + end, path);
    write_at(file_, 0, std::as_bytes(std::span(text)), path);
  } catch (...) {
    ::close(file_);
    throw;
  }
}

SafetensorsWriter::~SafetensorsWriter() {
  if (file_ >= 0) ::close(file_);
}

void SafetensorsWriter::write(const std::string& tensor, std::int64_t offset,
                              std::span<const std::byte> bytes) {
  write_at(file_, begins_.at(tensor) + offset, bytes, path_);
}

void SafetensorsWriter::finish() {
  if (::fsync(file_) != 0) fail(path_, errno);
  ::close(file_);
  file_ = -1;
}

void write_file_durably(const std::filesystem::path& path, std::span<const std::byte> bytes) {
  const int file = create(path);
  try {
    write_at(file, 0, bytes, path);
    if (::fsync(file) != 0) fail(path, errno);
  } catch (...) {
    ::close(file);
    throw;
  }
  ::close(file);
}

}  // namespace iol
