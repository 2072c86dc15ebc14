// NVIDIA ModelOpt's FP8 checkpoints: hf_quant_config.json, or `quant_method: modelopt` in
// config.json.
//
//   MODULE.weight        F8_E4M3 [N, K]
//   MODULE.weight_scale  f32, a number (FP8) or [N] (FP8_PER_CHANNEL_PER_TOKEN)
//   MODULE.input_scale   f32, a number; not used, our activations get a scale for every token
//
// `exclude_modules` is not needed: what is excluded is stored unquantized. `kv_cache_quant_algo`
// and the scales of keys and values say how the cache may be stored, which --kv-cache decides here.
#include "quantization/checkpoint_format.h"

namespace iol {
namespace {

class ModelOptFormat final : public CheckpointFormat {
 public:
  [[nodiscard]] std::optional<MatrixScheme> scheme_of(const StoredMatrix& stored) const override {
    const HostTensor* weight = stored.find("weight");
    if (weight == nullptr || weight->dtype != DType::kF8E4M3) return std::nullopt;
    return MatrixScheme{WeightFormat::kFp8};
  }

  [[nodiscard]] UnpackedMatrix unpack(const StoredMatrix& stored) const override {
    if (stored.find("pre_quant_scale") != nullptr) {
      stored.refuse("pre_quant_scale",
                    "scales the inputs of a modelopt matrix, which is not supported; use the "
                    "unquantized checkpoint with --quant");
    }
    return unpack_bytes(stored, WeightFormat::kFp8, "weight_scale");
  }
};

}  // namespace

CheckpointFormatPtr make_modelopt_format(const JsonFields& fields) {
  const auto algorithm = fields.string("quant_algo");
  if (algorithm != "FP8" && algorithm != "FP8_PER_CHANNEL_PER_TOKEN")
    refuse_setting(fields, "quant_algo", "FP8 or FP8_PER_CHANNEL_PER_TOKEN for modelopt");
  return std::make_unique<ModelOptFormat>();
}

}  // namespace iol
