#pragma once
#include <span>

#include "backend/backend.h"
#include "backend/cuda/device_memory.h"
#include "backend/cuda/kernels/kernels.h"
#include "backend/cuda/kernels/step_copies.h"

namespace iol::cuda {

/// Sizes of a step's arrays; a step of few tokens a sequence is padded to the sizes of its bucket.
struct StepSizes {
  int num_tokens = 0;
  int num_logits = 0;
  int num_slices = 0;
  int num_decodes = 0;  // slices that attention_decode() takes: one tile of 16 rows each
  // Of the other slices, which rope_append() and attention() take.
  int num_rotated_tokens = 0;
  int num_small_tiles = 0;
  int num_prefill_tiles = 0;
  int max_chunks = 1;  // of decodes and small tiles, a power of two
};

/// A step's input in device memory.
struct StepArrays {
  const std::int32_t* token_ids = nullptr;     // [T]
  const std::int32_t* positions = nullptr;     // [T]
  const std::int32_t* blocks = nullptr;        // [T] the cache block that takes the token; -1: none
  const std::int32_t* token_slices = nullptr;  // [T]
  const std::int32_t* logit_tokens = nullptr;  // [L]
  const TokenChoice* choices = nullptr;        // [L]
  const std::int32_t* rotated_tokens = nullptr;  // of slices that are no decodes
  const Slice* slices = nullptr;                 // decodes first
  const AttentionTile* small_tiles = nullptr;    // of 16 rows
  const AttentionTile* prefill_tiles = nullptr;  // of 96 rows
  const std::int32_t* tables = nullptr;          // the slices' block tables, one behind the other
};

/// Brings a StepInput to the device: the arrays, and the block tables. The place of each array
/// depends on the sizes alone, so that a captured step finds it again.
class StepInputs {
 public:
  StepInputs(int max_tokens, int max_logits, int group, int head_dim);

  /// Exact sizes of `input`; `has_decode_kernel`: attention_decode() knows the cache.
  [[nodiscard]] StepSizes sizes_of(const StepInput& input, bool has_decode_kernel) const;
  /// True when logits are wanted and no sequence contributes more tokens than a decode with its
  /// drafts: steps of the same padded sizes have the same form then.
  [[nodiscard]] bool has_few_tokens(const StepInput& input) const;
  /// Sizes that such a step is padded to. Where not all of its slices are decodes none is: a form
  /// less.
  [[nodiscard]] StepSizes padded_sizes(const StepInput& input, bool has_decode_kernel) const;
  /// Fills the arrays; what `sizes` has beyond the input is padding. Waits for nothing: the step
  /// before the last must be over.
  void upload(const StepInput& input, const StepSizes& sizes, int block_size, const Stream& stream);

  [[nodiscard]] const StepArrays& arrays() const { return arrays_; }
  /// Changes when block tables had to move: captured steps are void then.
  [[nodiscard]] int table_generation() const { return table_generation_; }
  [[nodiscard]] std::size_t size_bytes() const {
    return device_.size_bytes() + device_tables_.size_bytes();
  }

 private:
  /// Into the host's copy; says what is to be brought where. Rounded up: what is behind the last
  /// entry means nothing.
  StepCopy gather_tables(const StepInput& input, const Stream& stream);

  [[nodiscard]] bool takes_small_tiles(const SequenceSlice& slice) const;
  [[nodiscard]] bool is_one_tile(const SequenceSlice& slice) const;

  int max_tokens_;
  int max_logits_;
  int group_;
  bool only_small_tiles_;
  // Steps take turns with the host's copies.
  int turn_ = 0;
  PinnedBuffer host_[2];
  DeviceBuffer device_;
  PinnedBuffer host_tables_[2];
  DeviceBuffer device_tables_;
  StepArrays arrays_;
  int table_generation_ = 0;
};

}  // namespace iol::cuda
