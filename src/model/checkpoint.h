#pragma once
#include <filesystem>

#include "model/safetensors.h"
#include "model/weight_source.h"

namespace iol {

/// A model folder's safetensors as a source of weights. When a lease ends, its pages go back to the
/// kernel, so that a load's peak memory stays near one copy of the model.
class Checkpoint final : public WeightSource {
 public:
  explicit Checkpoint(const std::filesystem::path& folder);
  [[nodiscard]] bool contains(const std::string& name) const override;
  std::unique_ptr<Lease> lease(const std::string& name) override;
  /// As stored, whatever their dtype.
  [[nodiscard]] const SafetensorsFolder& tensors() const { return tensors_; }

 private:
  std::string folder_;
  SafetensorsFolder tensors_;
};

}  // namespace iol
