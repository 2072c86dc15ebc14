#pragma once
#include "backend/backend.h"
#include "backend/cuda/device_memory.h"
#include "backend/cuda/step_graphs.h"
#include "backend/cuda/step_inputs.h"

namespace iol::cuda {

/// A step's memory on the device. T = max_tokens, L = max_logit_tokens.
class CudaActivations final : public Activations {
 public:
  CudaActivations(const TransformerShape& transformer, int tokens, int logit_tokens);
  [[nodiscard]] std::size_t size_bytes() const override {
    return buffer_.size_bytes() + inputs.size_bytes();
  }

  const TransformerShape shape;
  const int max_tokens;
  const int max_logit_tokens;

  StepInputs inputs;
  float* inv_freq = nullptr;           // [D / 2]
  float* hidden = nullptr;             // [T, H] the residual stream
  SquareSum* squares = nullptr;        // [2 layers, kMostNormedTokens] of it, after each addition
  std::uint32_t* largest = nullptr;    // [4 layers, kMostCodedTokens] of rows that become codes
  OperandRows operand;                 // rows for the next matrix
  std::size_t operand_row_bytes = 0;   // room for each
  std::uint16_t* left_rows = nullptr;  // [kMostNormedTokens, H] that a product leaves: NormedRows
  float* qkv = nullptr;                // [T, (Nq + 2 Nkv) D]
  void* queries = nullptr;             // [T, Nq D]
  float* query_scales = nullptr;       // [T, Nq], of queries beside a cache of codes
  void* attended = nullptr;            // [T, Nq D]
  void* gated = nullptr;               // [T, F]
  float* cosine = nullptr;             // [T, D / 2]
  float* sine = nullptr;               // [T, D / 2]
  float* logits = nullptr;             // [L, V]
  unsigned long long* best = nullptr;  // [L]
  float* partial_sums = nullptr;
  float* partial_stats = nullptr;
  int* arrivals = nullptr;
  SumExchange exchange;  // of products
  // Of a single token's rows, see RowTraits; of what attention gives a number of `largest`.
  RowTraits hidden_traits;
  RowTraits gated_traits;

  /// Those of the next addition; the step zeroes all at its beginning.
  [[nodiscard]] SquareSum* next_squares() const {
    return squares + std::int64_t{num_added} * kMostNormedTokens;
  }
  /// Where the largest magnitude of each of the next rows is left, for codes_rows().
  [[nodiscard]] std::uint32_t* take_largest() {
    return largest + std::int64_t{num_coded++} * kMostCodedTokens;
  }
  int num_added = 0;  // additions of the step at hand
  int num_coded = 0;  // of those rows

  /// What the host reads of a step.
  struct Results {
    PinnedBuffer best;  // [L]
    Event done{EventKind::kUntimed};
    int num_logits = 0;
  };
  Results results[2];  // of steps that take turns
  int num_begun = 0;   // steps
  int num_finished = 0;
  [[nodiscard]] const Results& finished_last() const { return results[(num_finished + 1) % 2]; }
  PinnedBuffer host_logits;  // [L, V], of the last step
  bool logits_are_here = false;

  StepGraphs graphs;
  int graph_generation = 0;  // of the block tables they point to

 private:
  DeviceBuffer buffer_;
};

}  // namespace iol::cuda
