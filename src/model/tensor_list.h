#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "backend/weight_format.h"
#include "model/config.h"

namespace iol {

struct ModelTensor {
  std::string name;
  std::vector<std::int64_t> shape;
  WeightFormat format;  // kNone for vectors, and for matrices that stay as they are
};

/// The tensors that load_weights() takes, with the formats that it packs them in: of matrices that
/// are multiplied as one, none is quantized when one is kept.
std::vector<ModelTensor> model_tensors(const ModelConfig& config, const Quantization& quantization);

}  // namespace iol
