#pragma once
// A checkpoint that another tool quantized, as a source of weights in our formats.
#include <filesystem>
#include <memory>
#include <string>

#include "model/checkpoint.h"
#include "model/config.h"
#include "quantization/checkpoint_format.h"

namespace iol {

class QuantizedCheckpoint final : public WeightSource {
 public:
  /// Looks at the names and dtypes of all matrices; their contents are read when they are leased.
  /// Throws InputError when they do not fit the settings, or are not quantized alike.
  QuantizedCheckpoint(const std::filesystem::path& folder, const ModelConfig& config,
                      CheckpointFormatPtr format);

  [[nodiscard]] std::optional<Quantization> quantization() const override { return quantization_; }
  [[nodiscard]] bool contains(const std::string& name) const override;
  std::unique_ptr<Lease> lease(const std::string& name) override;

 private:
  [[nodiscard]] StoredMatrix stored(const std::string& name) const;
  void add_layer_matrix(const std::string& name);
  void add_head(const std::string& name);

  std::string folder_;
  Checkpoint checkpoint_;
  CheckpointFormatPtr format_;
  std::optional<MatrixScheme> layer_scheme_;
  Quantization quantization_;
  std::map<std::string, MatrixScheme> schemes_;  // of the quantized matrices, by tensor name
};

/// Whether the settings of a checkpoint's folder say that it is quantized.
bool is_quantized_checkpoint(const std::filesystem::path& folder);

/// The weights of a checkpoint's folder, quantized or not.
std::unique_ptr<WeightSource> open_checkpoint(const std::filesystem::path& folder);

}  // namespace iol
