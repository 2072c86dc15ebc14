#pragma once
#include <cstdint>

#include "backend/weight_format.h"
#include "model/config.h"

namespace iol {

/// Whose layout matrices are padded for.
enum class WeightPacking : std::uint8_t { kCpu, kCuda };

/// Bytes of the packed weights: matrices padded as the backend packs them, quantized as
/// `quantization` says, tied embeddings once.
std::int64_t weight_bytes(const ModelConfig& config, DType dtype, const Quantization& quantization,
                          WeightPacking packing = WeightPacking::kCpu);

/// Bytes of the keys and values of one position, all layers; scales of quantized formats included.
std::int64_t kv_bytes_per_token(const ModelConfig& config, DType dtype);

}  // namespace iol
