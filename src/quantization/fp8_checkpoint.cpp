// `quant_method: fp8`, as AutoFP8 and vLLM define it: E4M3 matrices with one scale per tensor (or
// per output channel),
//
//   MODULE.weight        F8_E4M3 [N, K]
//   MODULE.weight_scale  f32, f16 or bf16: a number, [1], [N] or [N, 1]      w = weight * scale
//   MODULE.input_scale   of `activation_scheme: static`; not used, because our activations get a
//                        scale of their own for every token
//
// transformers calls the same scale `weight_scale_inv`; with `weight_block_size` it becomes one
// scale for each block of rows and columns, which is not one of our formats. Which matrices are
// quantized is told from their dtype.
#include "quantization/checkpoint_format.h"

namespace iol {
namespace {

class Fp8Format final : public CheckpointFormat {
 public:
  [[nodiscard]] std::optional<MatrixScheme> scheme_of(const StoredMatrix& stored) const override {
    const HostTensor* weight = stored.find("weight");
    if (weight == nullptr || weight->dtype != DType::kF8E4M3) return std::nullopt;
    return MatrixScheme{WeightFormat::kFp8};
  }

  [[nodiscard]] UnpackedMatrix unpack(const StoredMatrix& stored) const override {
    const bool has_other_name =
        stored.find("weight_scale") == nullptr && stored.find("weight_scale_inv") != nullptr;
    return unpack_bytes(stored, WeightFormat::kFp8,
                        has_other_name ? "weight_scale_inv" : "weight_scale");
  }
};

}  // namespace

CheckpointFormatPtr make_fp8_format(const JsonFields& fields) {
  if (fields.has("weight_block_size"))
    refuse_setting(fields, "weight_block_size", "none (fp8 with one scale per tensor or row)");
  const auto scheme = fields.string("activation_scheme");
  if (scheme && *scheme != "dynamic" && *scheme != "static")
    refuse_setting(fields, "activation_scheme", "dynamic or static");
  if (const auto form = fields.string("fmt"); form && *form != "e4m3")
    refuse_setting(fields, "fmt", "e4m3");
  return std::make_unique<Fp8Format>();
}

}  // namespace iol
