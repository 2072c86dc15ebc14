#pragma once
#include <vector>

#include "backend/backend.h"
#include "backend/cuda/device_memory.h"
#include "backend/cuda/kernels/kernels.h"
#include "backend/cuda/kernels/step_copies.h"
#include "backend/cuda/step_forms.h"

namespace iol::cuda {

/// A step's input in device memory.
struct StepArrays {
  const std::int32_t* token_ids = nullptr;     // [T]
  const std::int32_t* positions = nullptr;     // [T]
  const std::int32_t* blocks = nullptr;        // [T] the cache block that takes the token; -1: none
  const std::int32_t* token_slices = nullptr;  // [T]
  const std::int32_t* logit_tokens = nullptr;  // [L]
  const TokenChoice* choices = nullptr;        // [L]
  const std::int32_t* rotated_tokens = nullptr;  // of slices that are no decodes
  const Slice* slices = nullptr;                 // tiles of decodes first, the longest of them
  const std::int32_t* first_queries = nullptr;   // [decodes] see AttentionTask
  const std::int32_t* first_partials = nullptr;  // [decodes] see share_decodes()
  const AttentionTile* small_tiles = nullptr;    // of 16 rows
  const AttentionTile* prefill_tiles = nullptr;  // of 128 rows
  const std::int32_t* tables = nullptr;          // the slices' block tables, one behind the other
};

/// Brings a StepInput to the device: the arrays, and the block tables. The place of each array
/// depends on the sizes alone, so that a captured step finds it again.
class StepInputs {
 public:
  StepInputs(int max_tokens, int max_logits, const TransformerShape& shape);

  [[nodiscard]] const StepForms& forms() const { return forms_; }
  /// Fills the arrays; what `sizes` has beyond the input is padding. Waits for nothing: the step
  /// before the last must be over.
  void upload(const StepInput& input, const StepSizes& sizes, int block_size, const Stream& stream);
  /// arrays() are those of a step of these sizes, which isn't brought.
  void place(const StepSizes& sizes);

  [[nodiscard]] const StepArrays& arrays() const { return arrays_; }
  /// Changes when block tables had to move: captured steps are void then.
  [[nodiscard]] int table_generation() const { return table_generation_; }
  [[nodiscard]] std::size_t size_bytes() const {
    return device_.size_bytes() + device_tables_.size_bytes();
  }

 private:
  /// Of a slice that attention_decode() takes: up to the tile's last token, see AttentionTask.
  struct DecodeTile {
    Slice slice;
    int first_query;
    int num_chunks;  // with a sliding window at most
  };
  void add_decode(const Slice& slice);
  /// The longest come first, and so begin first.
  void order_decodes();
  /// Into the host's copy; says what is to be brought where. Rounded up: what is behind the last
  /// entry means nothing.
  StepCopy gather_tables(const StepInput& input, const Stream& stream);

  StepForms forms_;
  // Steps take turns with the host's copies.
  int turn_ = 0;
  PinnedBuffer host_[2];
  DeviceBuffer device_;
  PinnedBuffer host_tables_[2];
  DeviceBuffer device_tables_;
  std::vector<DecodeTile> decodes_;  // of the step
  std::vector<int> num_chunks_;
  StepArrays arrays_;
  int table_generation_ = 0;
};

}  // namespace iol::cuda
