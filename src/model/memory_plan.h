#pragma once
#include <cstdint>

#include "backend/weight_format.h"
#include "model/config.h"

namespace iol {

/// Bytes of the packed weights on the CPU backend: matrices padded to whole panels, quantized as
/// `quantization` says, tied embeddings once.
std::int64_t weight_bytes(const ModelConfig& config, DType dtype, const Quantization& quantization);

/// Bytes of the keys and values of one position, all layers; scales of quantized formats included.
std::int64_t kv_bytes_per_token(const ModelConfig& config, DType dtype);

}  // namespace iol
