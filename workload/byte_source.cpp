#include "workload/byte_source.h"

#include <zlib.h>

#include <algorithm>

#include "base/error.h"

namespace iol {

struct ByteSource::File {
  gzFile handle = nullptr;
  ~File() {
    if (handle != nullptr) ::gzclose_r(handle);
  }
};

ByteSource::ByteSource(const std::filesystem::path& path)
    : file_(std::make_unique<File>()), path_(path.string()) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) throw_input_error("{}: no such file", path_);
  if (!std::filesystem::is_regular_file(path, error)) {
    throw_input_error("{}: not a regular file; give a trace", path_);
  }
  file_->handle = ::gzopen(path.c_str(), "rb");
  if (file_->handle == nullptr) throw_input_error("{}: can't be opened for reading", path_);
  ::gzbuffer(file_->handle, 1 << 18);
}

ByteSource::~ByteSource() = default;
ByteSource::ByteSource(ByteSource&& other) noexcept = default;

std::size_t ByteSource::read(char* bytes, std::size_t size) {
  std::size_t total = 0;
  while (total < size) {
    const auto wanted = static_cast<unsigned>(std::min<std::size_t>(size - total, 1U << 30));
    const int count = ::gzread(file_->handle, bytes + total, wanted);
    int code = Z_OK;
    if (count <= 0) {
      const char* why = ::gzerror(file_->handle, &code);
      if (count == 0 && (code == Z_OK || code == Z_STREAM_END)) break;
      if (code == Z_BUF_ERROR) throw_input_error("{}: the gzip file is cut off", path_);
      throw_input_error("{}: can't be read: {}", path_, code == Z_ERRNO ? "input error" : why);
    }
    total += static_cast<std::size_t>(count);
  }
  return total;
}

}  // namespace iol
