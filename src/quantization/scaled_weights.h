#pragma once
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/weight_source.h"

namespace iol {

inline constexpr float kClipStep = 0.05F;
inline constexpr int kNumClips = 11;  // 1, 0.95, ..., 0.5

/// How far the range of each group of a matrix's rows is narrowed before it is quantized:
/// w = clamp(w, low * c, high * c) with c = 1 - steps * kClipStep, low = min(0, w...) and
/// high = max(0, w...) over the group.
struct ClipRatios {
  std::int64_t group_size = 0;
  std::vector<std::uint8_t> steps;  // [N, K / group_size]; empty: nothing is clipped
};

void clip_group(std::span<float> weights, int steps);

/// What to do to one tensor: W[n][k] <- clip(W[n][k] * columns[k]) * rows[n]. Either may be empty.
struct TensorScaling {
  std::vector<float> columns;  // [K]
  std::vector<float> rows;     // [N]; of a vector: its elements
  ClipRatios clip;
};

/// A source whose tensors are rescaled as they are taken; scaled ones become f32, the others stay.
/// Whoever reads it (the loader, the engine directory's writer) knows nothing of calibration.
class ScaledWeights final : public WeightSource {
 public:
  ScaledWeights(std::unique_ptr<WeightSource> source, std::map<std::string, TensorScaling> scalings)
      : source_(std::move(source)), scalings_(std::move(scalings)) {}

  [[nodiscard]] std::optional<Quantization> quantization() const override {
    return source_->quantization();
  }
  [[nodiscard]] bool contains(const std::string& name) const override {
    return source_->contains(name);
  }
  /// Throws InputError when the tensor does not have the shape that it was calibrated with.
  std::unique_ptr<Lease> lease(const std::string& name) override;

 private:
  std::unique_ptr<WeightSource> source_;
  std::map<std::string, TensorScaling> scalings_;
};

}  // namespace iol
