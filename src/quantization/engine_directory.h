#pragma once
// An engine directory (`iol build`) as a source of weights: quantized matrices and plain tensors in
// mapped files.
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/mapped_file.h"
#include "model/config.h"
#include "model/weight_source.h"
#include "quantization/manifest.h"

namespace iol {

// A quantized matrix NAME.weight [N, K] is three tensors (G = K / group size, or 1):
//   NAME.weight        i8 [N, K]; F8_E4M3 [N, K]; int4: u8 [N, K / 2], the even k in the low half
//   NAME.weight_scale  f32 [N, G]
//   NAME.weight_zero   u8 [N, G], 0..15; int4 only
inline constexpr const char* kScaleSuffix = "_scale";
inline constexpr const char* kZeroSuffix = "_zero";
/// In the __metadata__ of each weights file.
inline constexpr const char* kBuildIdKey = "iol_build_id";

class EngineDirectory final : public WeightSource {
 public:
  /// Checks the manifest, the sizes of all files, the hashes of all but the weights files (with
  /// `verify` of those too), that the weights files are of this build, and every tensor's shape and
  /// dtype. Throws InputError with one line that names what does not fit.
  EngineDirectory(const std::filesystem::path& folder, bool verify);

  [[nodiscard]] const Manifest& manifest() const { return manifest_; }
  [[nodiscard]] const ModelConfig& config() const { return config_; }

  [[nodiscard]] std::optional<Quantization> quantization() const override;
  [[nodiscard]] bool contains(const std::string& name) const override;
  std::unique_ptr<Lease> lease(const std::string& name) override;

 private:
  void check_files(bool verify) const;
  void map_weights();
  void check_tensors();
  const HostTensor& stored(const std::string& name) const;
  void check_stored(const std::string& name, DType dtype,
                    const std::vector<std::int64_t>& shape) const;

  std::filesystem::path folder_;
  Manifest manifest_;
  ModelConfig config_;
  std::vector<MappedFile> files_;
  std::map<std::string, HostTensor> tensors_;    // as stored
  std::map<std::string, WeightFormat> formats_;  // of the quantized ones
};

/// The weights of a model folder: of a checkpoint, or of an engine directory. `verify` is refused
/// for a checkpoint, which has no hashes.
std::unique_ptr<WeightSource> open_weights(const std::filesystem::path& folder, bool verify);

}  // namespace iol
