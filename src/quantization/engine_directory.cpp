#include "quantization/engine_directory.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "model/safetensors.h"
#include "model/tensor_list.h"
#include "quantization/file_hash.h"
#include "quantization/quantized_checkpoint.h"

namespace iol {
namespace {

constexpr const char* kWhatToDo = "copy the directory again, or build it again with 'iol build'";

bool is_weights_file(const std::string& name) { return name.ends_with(".safetensors"); }

/// Files that change what a model does, when they are there.
constexpr const char* kReadFiles[] = {"config.json", "generation_config.json", "tokenizer.json",
                                      "tokenizer.model"};

std::size_t stored_bytes(const HostTensor& tensor) {
  return static_cast<std::size_t>(tensor.num_elements()) * dtype_bytes(tensor.dtype);
}

class PlainLease final : public WeightSource::Lease {
 public:
  explicit PlainLease(const HostTensor& tensor) : tensor_(tensor) {}
  ~PlainLease() override { release_pages({tensor_.data, stored_bytes(tensor_)}); }
  [[nodiscard]] const HostTensor& tensor() const override { return tensor_; }

 private:
  const HostTensor& tensor_;
};

class QuantizedLease final : public WeightSource::Lease {
 public:
  /// `zeros` is null for formats without zero points.
  QuantizedLease(WeightFormat format, std::int64_t group_size, const HostTensor& values,
                 const HostTensor& scales, const HostTensor* zeros)
      : values_(values) {
    quantized_.format = format;
    quantized_.group_size = group_size;
    quantized_.values = reinterpret_cast<const std::uint8_t*>(values.data);
    // The mapped scales may begin anywhere in a file that somebody else wrote.
    scales_.resize(static_cast<std::size_t>(scales.num_elements()));
    std::memcpy(scales_.data(), scales.data, scales_.size() * sizeof(float));
    quantized_.scales = scales_.data();
    if (zeros != nullptr) {
      quantized_.zeros = reinterpret_cast<const std::uint8_t*>(zeros->data);
      num_zeros_ = zeros->num_elements();
    }
    tensor_.shape = values.shape;
    if (format == WeightFormat::kInt4) tensor_.shape[1] *= 2;
    tensor_.quantized = &quantized_;
  }
  ~QuantizedLease() override { release_pages({values_.data, stored_bytes(values_)}); }
  [[nodiscard]] const HostTensor& tensor() const override { return tensor_; }

  void check(const std::string& name, const std::string& folder) const {
    const bool good_scales = std::all_of(scales_.begin(), scales_.end(), [](float scale) {
      return std::isfinite(scale) && scale >= 0;
    });
    const bool good_zeros = std::all_of(quantized_.zeros, quantized_.zeros + num_zeros_,
                                        [](std::uint8_t zero) { return zero <= 15; });
    if (good_scales && good_zeros) return;
    throw_input_error("'{}': the {} of tensor '{}' are damaged; {}", folder,
                      good_scales ? "zero points" : "scales", name, kWhatToDo);
  }

 private:
  const HostTensor& values_;
  std::vector<float> scales_;
  std::int64_t num_zeros_ = 0;
  QuantizedTensor quantized_;
  HostTensor tensor_;
};

DType stored_dtype(WeightFormat format) {
  if (format == WeightFormat::kFp8) return DType::kF8E4M3;
  return format == WeightFormat::kInt4 ? DType::kU8 : DType::kI8;
}

}  // namespace

EngineDirectory::EngineDirectory(const std::filesystem::path& folder, bool verify)
    : folder_(folder), manifest_(load_manifest(folder)) {
  check_files(verify);
  config_ = load_model_config(folder);
  map_weights();
  check_tensors();
}

void EngineDirectory::check_files(bool verify) const {
  const auto listed = [&](const std::string& name) {
    return std::any_of(manifest_.files.begin(), manifest_.files.end(),
                       [&](const auto& file) { return file.name == name; });
  };
  for (const std::string name : kReadFiles) {
    if (path_exists(folder_ / name) && !listed(name)) {
      throw_input_error("'{}' holds {}, which its manifest does not list; {}", folder_.string(),
                        name, kWhatToDo);
    }
  }
  if (!listed("config.json"))
    throw_input_error("{}: lists no config.json; {}", (folder_ / kManifestName).string(),
                      kWhatToDo);
  for (const auto& file : manifest_.files) {
    const auto path = folder_ / file.name;
    std::error_code error;
    const auto size = std::filesystem::file_size(path, error);
    if (error) throw_input_error("'{}' is missing or unreadable; {}", path.string(), kWhatToDo);
    if (size != static_cast<std::uintmax_t>(file.size_bytes)) {
      throw_input_error("'{}' has {} bytes, but the manifest says {}; {}", path.string(), size,
                        file.size_bytes, kWhatToDo);
    }
  }
  for (const auto& file : manifest_.files) {
    if (is_weights_file(file.name) && !verify) continue;
    if (hash_file(folder_ / file.name) != file) {
      throw_input_error("'{}' is not what the build wrote (its SHA-256 differs); {}",
                        (folder_ / file.name).string(), kWhatToDo);
    }
  }
}

void EngineDirectory::map_weights() {
  for (const auto& file : manifest_.files) {
    if (!is_weights_file(file.name)) continue;
    const std::string path = (folder_ / file.name).string();
    files_.emplace_back(path);
    const auto bytes = files_.back().bytes();
    const auto metadata = safetensors_metadata(bytes, path);
    const auto id = metadata.find(kBuildIdKey);
    if (id == metadata.end() || id->second != manifest_.build_id)
      throw_input_error("'{}' belongs to another build than the manifest; {}", path, kWhatToDo);
    files_.back().will_read();
    for (auto& [name, tensor] : parse_safetensors(bytes, path)) {
      if (!tensors_.emplace(name, std::move(tensor)).second)
        throw_input_error("{}: tensor '{}' is also in another file; {}", path, name, kWhatToDo);
    }
  }
}

const HostTensor& EngineDirectory::stored(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) {
    throw_input_error("'{}': tensor '{}' is in none of its files; {}", folder_.string(), name,
                      kWhatToDo);
  }
  return found->second;
}

void EngineDirectory::check_stored(const std::string& name, DType dtype,
                                   const std::vector<std::int64_t>& shape) const {
  const HostTensor& tensor = stored(name);
  if (tensor.dtype == dtype && tensor.shape == shape) return;
  throw_input_error("'{}': tensor '{}' is {} [{}]; its manifest implies {} [{}]; {}",
                    folder_.string(), name, dtype_name(tensor.dtype), fmt::join(tensor.shape, ", "),
                    dtype_name(dtype), fmt::join(shape, ", "), kWhatToDo);
}

void EngineDirectory::check_tensors() {
  for (const auto& tensor : model_tensors(config_, manifest_.quantization)) {
    if (tensor.format == WeightFormat::kNone) {
      static_cast<void>(stored(tensor.name));  // its shape and dtype: as of any checkpoint, at load
      continue;
    }
    const WeightFormatTraits& traits = traits_of(tensor.format);
    const std::int64_t rows = tensor.shape[0];
    const std::int64_t columns = tensor.shape[1];
    const std::int64_t group = traits.grouped ? manifest_.quantization.group_size : columns;
    if (columns % group != 0 || columns % 2 != 0) {
      throw_input_error("'{}': groups of {} don't divide the {} columns of '{}'; {}",
                        folder_.string(), group, columns, tensor.name, kWhatToDo);
    }
    const bool is_packed = tensor.format == WeightFormat::kInt4;
    check_stored(tensor.name, stored_dtype(tensor.format),
                 {rows, is_packed ? columns / 2 : columns});
    check_stored(tensor.name + kScaleSuffix, DType::kF32, {rows, columns / group});
    if (traits.has_zero_points)
      check_stored(tensor.name + kZeroSuffix, DType::kU8, {rows, columns / group});
    formats_.emplace(tensor.name, tensor.format);
  }
}

std::optional<Quantization> EngineDirectory::quantization() const {
  const bool is_plain = manifest_.quantization.format == WeightFormat::kNone &&
                        manifest_.quantization.head == WeightFormat::kNone;
  return is_plain ? std::nullopt : std::optional(manifest_.quantization);
}

bool EngineDirectory::contains(const std::string& name) const { return tensors_.contains(name); }

std::unique_ptr<WeightSource::Lease> EngineDirectory::lease(const std::string& name) {
  const HostTensor& values = stored(name);
  const auto format = formats_.find(name);
  if (format == formats_.end()) return std::make_unique<PlainLease>(values);
  const WeightFormatTraits& traits = traits_of(format->second);
  const std::int64_t group =
      traits.grouped ? manifest_.quantization.group_size : values.shape.at(1);
  auto lease = std::make_unique<QuantizedLease>(
      format->second, group, values, stored(name + kScaleSuffix),
      traits.has_zero_points ? &stored(name + kZeroSuffix) : nullptr);
  lease->check(name, folder_.string());
  return lease;
}

std::unique_ptr<WeightSource> open_weights(const std::filesystem::path& folder, bool verify) {
  if (is_engine_directory(folder)) return std::make_unique<EngineDirectory>(folder, verify);
  if (verify) {
    throw_input_error("--verify: '{}' is a checkpoint, which has no hashes; leave the option out",
                      folder.string());
  }
  return open_checkpoint(folder);
}

}  // namespace iol
