#pragma once
// Writes one safetensors file in pieces, so that no tensor has to be in memory as a whole.
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/dtype.h"

namespace iol {

struct TensorHeader {
  std::string name;
  DType dtype;
  std::vector<std::int64_t> shape;

  [[nodiscard]] std::int64_t size_bytes() const;
};

/// Creates the file at once in its full size. The format allows no gaps between tensors, so they
/// are ordered such that the big ones are aligned: those of a multiple of 64 bytes come first, in
/// the order given, then the others by falling powers of two in their size. The data as a whole
/// begins at a multiple of 64 bytes.
class SafetensorsWriter {
 public:
  /// Throws ResourceError naming the file when it can't be created or the disk has no room for it.
  SafetensorsWriter(const std::filesystem::path& path, std::vector<TensorHeader> tensors,
                    const std::map<std::string, std::string>& metadata);
  ~SafetensorsWriter();
  SafetensorsWriter(const SafetensorsWriter&) = delete;
  SafetensorsWriter& operator=(const SafetensorsWriter&) = delete;

  /// Puts `bytes` at byte `offset` of the tensor.
  void write(const std::string& tensor, std::int64_t offset, std::span<const std::byte> bytes);
  /// Returns when everything is on the disk.
  void finish();

 private:
  std::filesystem::path path_;
  int file_ = -1;
  std::map<std::string, std::int64_t> begins_;  // in the file
};

/// Writes a small file and returns when it is on the disk. Throws ResourceError naming it.
void write_file_durably(const std::filesystem::path& path, std::span<const std::byte> bytes);

}  // namespace iol
