#include "quantization/scaled_weights.h"

#include <algorithm>

#include "backend/read_elements.h"
#include "base/error.h"

namespace iol {
namespace {

class OwnedLease final : public WeightSource::Lease {
 public:
  OwnedLease(std::vector<float> values, std::vector<std::int64_t> shape)
      : values_(std::move(values)) {
    tensor_.data = reinterpret_cast<const std::byte*>(values_.data());
    tensor_.dtype = DType::kF32;
    tensor_.shape = std::move(shape);
  }
  [[nodiscard]] const HostTensor& tensor() const override { return tensor_; }

 private:
  std::vector<float> values_;
  HostTensor tensor_;
};

void clip_row(const ClipRatios& clip, std::size_t n, std::span<float> row) {
  const auto group = static_cast<std::size_t>(clip.group_size);
  const std::size_t num_groups = row.size() / group;
  for (std::size_t g = 0; g < num_groups; ++g)
    clip_group(row.subspan(g * group, group), clip.steps[n * num_groups + g]);
}

}  // namespace

void clip_group(std::span<float> weights, int steps) {
  if (steps == 0) return;
  float low = 0;
  float high = 0;
  for (const float weight : weights) {
    low = std::min(low, weight);
    high = std::max(high, weight);
  }
  const float ratio = 1.0F - static_cast<float>(steps) * kClipStep;
  for (float& weight : weights) weight = std::clamp(weight, low * ratio, high * ratio);
}

std::unique_ptr<WeightSource::Lease> ScaledWeights::lease(const std::string& name) {
  auto original = source_->lease(name);
  const auto found = scalings_.find(name);
  if (found == scalings_.end()) return original;
  const HostTensor& tensor = original->tensor();
  const TensorScaling& scaling = found->second;
  if (tensor.quantized != nullptr)
    throw_input_error("tensor '{}' is quantized already; calibration needs it plain", name);
  const auto num_rows = static_cast<std::size_t>(tensor.shape.empty() ? 0 : tensor.shape[0]);
  const std::size_t num_columns =
      num_rows > 0 ? static_cast<std::size_t>(tensor.num_elements()) / num_rows : 0;
  if ((!scaling.rows.empty() && scaling.rows.size() != num_rows) ||
      (!scaling.columns.empty() && scaling.columns.size() != num_columns))
    throw_input_error("tensor '{}' does not have the shape that it was calibrated with", name);

  std::vector<float> values(num_rows * num_columns);
  read_elements(tensor, 0, values);
  for (std::size_t n = 0; n < num_rows; ++n) {
    const std::span<float> row(values.data() + n * num_columns, num_columns);
    if (!scaling.columns.empty()) {
      for (std::size_t k = 0; k < num_columns; ++k) row[k] *= scaling.columns[k];
    }
    if (!scaling.clip.steps.empty()) clip_row(scaling.clip, n, row);
    if (!scaling.rows.empty()) {
      for (float& weight : row) weight *= scaling.rows[n];
    }
  }
  return std::make_unique<OwnedLease>(std::move(values), tensor.shape);
}

}  // namespace iol
