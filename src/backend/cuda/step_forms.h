#pragma once
// How large the arrays of a step are, and which steps of few tokens are padded to the same sizes:
// such steps have one form, and are captured once. Host only.
#include <compare>
#include <vector>

#include "backend/backend.h"
#include "backend/cuda/kernels/kernels.h"

namespace iol::cuda {

/// Sizes of a step's arrays; a step of few tokens a sequence is padded to the sizes of its bucket.
struct StepSizes {
  int num_tokens = 0;
  int num_logits = 0;
  int num_slices = 0;   // a decode of several tiles has one for each
  int num_decodes = 0;  // tiles of 16 rows that attention_decode() takes
  // Of the other slices, which rope_append() and attention() take.
  int num_rotated_tokens = 0;
  int num_small_tiles = 0;
  int num_prefill_tiles = 0;
  int max_chunks = 1;  // of decodes and small tiles, a power of two
  auto operator<=>(const StepSizes&) const = default;
};

/// Tiles of `tile_rows` rows that hold so many.
inline int tiles_of(int rows, int tile_rows) { return (rows + tile_rows - 1) / tile_rows; }

class StepForms {
 public:
  StepForms(int max_tokens, int max_logits, const TransformerShape& shape);

  /// Exact sizes of `input`; `has_decode_kernel`: attention_decode() knows the cache.
  [[nodiscard]] StepSizes sizes_of(const StepInput& input, bool has_decode_kernel) const;
  /// True when logits are wanted and no sequence contributes more tokens than a decode with its
  /// drafts: steps of the same padded sizes have the same form then.
  [[nodiscard]] bool has_few_tokens(const StepInput& input) const;
  /// Sizes that such a step is padded to.
  [[nodiscard]] StepSizes padded_sizes(const StepInput& input, bool has_decode_kernel) const;
  /// All that padded_sizes() gives for steps within `limits`, those of fewest tokens first.
  [[nodiscard]] std::vector<StepSizes> padded_sizes_within(const StepLimits& limits,
                                                           bool has_decode_kernel) const;

  /// Decodes with their drafts, and whatever else fits into one tile of 16 rows.
  [[nodiscard]] bool takes_small_tiles(const SequenceSlice& slice) const;
  /// Where there is a decode kernel for the cache: it takes whole tokens.
  [[nodiscard]] bool takes_decode_tiles(const SequenceSlice& slice) const;
  [[nodiscard]] int tokens_of_decode_tile() const { return kDecodeTileRows / group_; }
  [[nodiscard]] int group() const { return group_; }
  [[nodiscard]] int num_kv_heads() const { return num_kv_heads_; }

 private:
  /// `num_tiles`: of decodes where all slices are, else of 16 rows.
  [[nodiscard]] StepSizes padded(int num_tokens, bool only_decodes, int num_tiles,
                                 int max_chunks) const;

  int max_tokens_;
  int max_logits_;
  int group_;
  int num_kv_heads_;
  int few_decode_blocks_;
  bool only_small_tiles_;
};

}  // namespace iol::cuda
