#pragma once
// The operations of a forward pass (backend.h) on a stream, and what one leaves for the next.
#include <cstdint>
#include <optional>

#include "backend/cuda/cuda_activations.h"
#include "backend/cuda/cuda_matrix.h"
#include "backend/cuda/linear_operation.h"
#include "backend/cuda/step_forms.h"

namespace iol::cuda {

class StepOperations {
 public:
  /// `stream` outlives it.
  StepOperations(const Stream& stream, DType dtype, bool deterministic)
      : stream_(&stream), dtype_(dtype), linear_(stream, dtype, deterministic) {}

  /// Of a step of these sizes, whose input is or will be in the activations; what a step before it
  /// has left undone is forgotten.
  void begin(const StepSizes& sizes);
  void embed(CudaActivations& a, const WeightMatrix& table);
  void project_qkv(CudaActivations& a, const LayerWeights& weights, KvCache& cache, int layer);
  void attend(CudaActivations& a, const KvCache& cache, int layer, std::optional<int> window);
  void project_output(CudaActivations& a, const LayerWeights& weights);
  void feed_forward(CudaActivations& a, const LayerWeights& weights);
  void project_logits(CudaActivations& a, const WeightVector& final_norm, const WeightMatrix& head);
  /// Behind the last of them.
  void flush() { linear_.flush(); }

  void observe(LinearInputObserver* observer) { linear_.observe(observer); }
  [[nodiscard]] bool is_observed() const { return linear_.is_observed(); }
  /// What queries are multiplied with keys as.
  [[nodiscard]] Element query_element(CacheElement cache) const;

 private:
  void attend_tiles(CudaActivations& a, AttentionTask& task);
  /// The residual stream to be normalized.
  [[nodiscard]] RowSource normed_hidden(const CudaActivations& a, const float* norm) const;
  /// What `matrix` multiplies of it, left by the product in front or made now.
  OperandRows normed_rows(CudaActivations& a, const MatrixView& matrix, const float* norm);
  /// Adds the product of `matrix` and x to the residual stream. `next_norm`: of the kernel that
  /// reads it next, or null; `next`: what it then multiplies with, as far as is known.
  void add_to_hidden(CudaActivations& a, const CudaMatrix& matrix, const VectorPtr& bias,
                     const OperandRows& x, const float* next_norm, const MatrixView& next);
  /// What queries are divided by: see RopeAppendTask.
  [[nodiscard]] float* query_scales(CudaActivations& a, CacheElement cache) const;
  [[nodiscard]] Element compute_element() const;

  const Stream* stream_;
  DType dtype_;
  LinearOperation linear_;
  // Of the step at hand.
  StepSizes sizes_;
  const MatrixView* output_ = nullptr;  // of the layer: multiplies what attention gives
  RopeAppendTask heads_;                // of the layer: what the QKV projection gave
  bool has_hidden_traits_ = false;      // those of the activations are of what is in `hidden`
  NormedRows hidden_rows_;              // left of it, for a matrix behind `hidden_norm_`
  const float* hidden_norm_ = nullptr;
  const std::uint32_t* hidden_largest_ = nullptr;  // of those rows, where it codes_rows()
  std::uint32_t* attended_largest_ = nullptr;      // likewise, of what attention gives
};

}  // namespace iol::cuda
