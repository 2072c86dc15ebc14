#pragma once
#include <functional>
#include <vector>

#include "backend/backend.h"
#include "model/config.h"
#include "model/weight_source.h"

namespace iol {

/// A model's weights on a backend.
struct ModelWeights {
  MatrixPtr embedding;   // [V, H]
  MatrixPtr head;        // [V, H]; null when tied to the embedding
  VectorPtr final_norm;  // [H]
  std::vector<LayerWeights> layers;

  [[nodiscard]] const WeightMatrix& output_head() const { return head ? *head : *embedding; }
  /// Bytes of all matrices on the device.
  [[nodiscard]] std::int64_t size_bytes() const;
};

/// Fills in LayerWeights::next_norm.
void name_next_norms(std::vector<LayerWeights>& layers, const WeightVector& final_norm);

/// Called after each layer: (layers done, layers in all).
using LoadProgress = std::function<void(int, int)>;

/// Takes the tensors from `source` one by one, checks shapes, and packs them on `backend`: the
/// layers' matrices and the LM head as `quantization` says, an embedding that is not the head as
/// the backend computes. Tensors that are quantized already stay as they are.
/// Throws InputError naming the tensor when one is missing, has the wrong shape or can't be
/// quantized.
ModelWeights load_weights(const ModelConfig& config, WeightSource& source, Backend& backend,
                          const Quantization& quantization, const LoadProgress& progress = {});

/// The sizes that the backend's operations need.
TransformerShape transformer_shape(const ModelConfig& config);
/// Of a cache of `num_blocks` blocks of `block_size` positions.
KvCacheShape kv_cache_shape(const ModelConfig& config, int num_blocks, int block_size, DType dtype);

}  // namespace iol
