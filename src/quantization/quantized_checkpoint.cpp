#include "quantization/quantized_checkpoint.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/mapped_file.h"
#include "model/tensor_list.h"

namespace iol {
namespace {

constexpr std::string_view kWeight = ".weight";

class UnpackedLease final : public WeightSource::Lease {
 public:
  explicit UnpackedLease(UnpackedMatrix matrix) : matrix_(std::move(matrix)) {
    quantized_.format = matrix_.format;
    quantized_.group_size = matrix_.group_size;
    quantized_.values =
        matrix_.mapped_values != nullptr ? matrix_.mapped_values : matrix_.values.data();
    quantized_.scales = matrix_.scales.data();
    quantized_.zeros = matrix_.zeros.empty() ? nullptr : matrix_.zeros.data();
    quantized_.input_order = matrix_.input_order.empty() ? nullptr : matrix_.input_order.data();
    tensor_.shape = {matrix_.rows, matrix_.columns};
    tensor_.quantized = &quantized_;
  }
  ~UnpackedLease() override { release_pages(matrix_.source); }
  [[nodiscard]] const HostTensor& tensor() const override { return tensor_; }

 private:
  UnpackedMatrix matrix_;
  QuantizedTensor quantized_;
  HostTensor tensor_;
};

std::string described(const MatrixScheme& scheme) {
  if (!traits_of(scheme.format).grouped) return std::string(weight_format_name(scheme.format));
  if (scheme.group_size == 0) return fmt::format("{} per row", weight_format_name(scheme.format));
  return fmt::format("{} in groups of {}", weight_format_name(scheme.format), scheme.group_size);
}

}  // namespace

QuantizedCheckpoint::QuantizedCheckpoint(const std::filesystem::path& folder,
                                         const ModelConfig& config, CheckpointFormatPtr format)
    : folder_(folder.string()), checkpoint_(folder), format_(std::move(format)) {
  Quantization everything;  // to be told which tensors are matrices that can be quantized
  everything.format = everything.head = WeightFormat::kInt8;
  for (const auto& tensor : model_tensors(config, everything)) {
    if (tensor.format == WeightFormat::kNone) continue;
    tensor.name.starts_with("model.layers.") ? add_layer_matrix(tensor.name)
                                             : add_head(tensor.name);
  }
  if (!layer_scheme_) {
    throw_input_error(
        "'{}': config.json says that the checkpoint is quantized, but no matrix of its layers is; "
        "remove quantization_config to load it as it is",
        folder_);
  }
}

StoredMatrix QuantizedCheckpoint::stored(const std::string& name) const {
  return {checkpoint_.tensors(), folder_, name.substr(0, name.size() - kWeight.size())};
}

void QuantizedCheckpoint::add_layer_matrix(const std::string& name) {
  const auto scheme = format_->scheme_of(stored(name));
  if (!scheme) {
    quantization_.keep.push_back(name);
    return;
  }
  if (!layer_scheme_) {
    layer_scheme_ = scheme;
    quantization_.format = scheme->format;
    if (traits_of(scheme->format).grouped)
      quantization_.group_size = static_cast<int>(scheme->group_size);
  }
  if (*scheme != *layer_scheme_) {
    throw_input_error(
        "'{}': tensor '{}' is quantized as {}, others as {}; this engine takes one format for all "
        "layers, use the unquantized checkpoint with --quant",
        folder_, name, described(*scheme), described(*layer_scheme_));
  }
  schemes_.emplace(name, *scheme);
}

void QuantizedCheckpoint::add_head(const std::string& name) {
  const auto scheme = format_->scheme_of(stored(name));
  if (!scheme) return;
  schemes_.emplace(name, *scheme);
  quantization_.head = scheme->format;
}

bool QuantizedCheckpoint::contains(const std::string& name) const {
  return schemes_.contains(name) || checkpoint_.contains(name);
}

std::unique_ptr<WeightSource::Lease> QuantizedCheckpoint::lease(const std::string& name) {
  if (!schemes_.contains(name)) return checkpoint_.lease(name);
  return std::make_unique<UnpackedLease>(format_->unpack(stored(name)));
}

bool is_quantized_checkpoint(const std::filesystem::path& folder) {
  return read_checkpoint_format(folder) != nullptr;
}

std::unique_ptr<WeightSource> open_checkpoint(const std::filesystem::path& folder) {
  auto format = read_checkpoint_format(folder);
  if (format == nullptr) return std::make_unique<Checkpoint>(folder);
  return std::make_unique<QuantizedCheckpoint>(folder, load_model_config(folder),
                                               std::move(format));
}

}  // namespace iol
