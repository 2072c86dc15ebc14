#pragma once
// The safetensors format: 8 bytes of header length, a JSON header {name: {dtype, shape,
// data_offsets}}, the data.
#include <filesystem>
#include <map>
#include <span>
#include <string>

#include "backend/backend.h"
#include "base/mapped_file.h"

namespace iol {

/// Parses one file's contents. The tensors point into `bytes`. Everything that the header claims is
/// checked: sizes against shapes, offsets against the file, overlaps, duplicate names. Throws
/// InputError naming `origin` and the tensor.
std::map<std::string, HostTensor> parse_safetensors(std::span<const std::byte> bytes,
                                                    const std::string& origin);

/// The texts of the header's __metadata__; empty when there is none.
std::map<std::string, std::string> safetensors_metadata(std::span<const std::byte> bytes,
                                                        const std::string& origin);

/// The tensors of a model folder: model.safetensors, or the shards that
/// model.safetensors.index.json names.
class SafetensorsFolder {
 public:
  /// Throws InputError when there is neither, or a file is missing or broken.
  explicit SafetensorsFolder(const std::filesystem::path& folder);

  /// Null when there is no such tensor. The memory is the mapped file's.
  [[nodiscard]] const HostTensor* find(const std::string& name) const;
  [[nodiscard]] const std::map<std::string, HostTensor>& tensors() const { return tensors_; }

 private:
  void add_file(const std::filesystem::path& path);

  std::vector<MappedFile> files_;
  std::map<std::string, HostTensor> tensors_;
};

}  // namespace iol
