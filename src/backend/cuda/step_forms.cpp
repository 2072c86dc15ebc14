#include "backend/cuda/step_forms.h"

#include <algorithm>
#include <bit>

#include "backend/cuda/kernels/kernels.h"

namespace iol::cuda {
namespace {

// Blocks of threads of attention up to which it makes no difference how many of them are empty. In
// decodes all of them have room for keys and values of their own at once. (8B shape, 32 tokens of
// eight sequences: 256 blocks instead of 64 made a step 1.3 % longer.)
constexpr int kFewBlocks = 512;
constexpr int kFewDecodeBlocks = 128;
constexpr int kFewDecodeBlocksOfSmallHeads = 384;
constexpr int kSmallHeadDim = 64;

int power_of_two(int count) {
  return static_cast<int>(std::bit_ceil(static_cast<unsigned>(count)));
}

/// The smallest bucket that holds so many tokens; their number itself where padding would not fit.
int bucket_of(int num_tokens, int most) {
  int bucket = num_tokens;
  if (num_tokens <= 8) {
    bucket = power_of_two(num_tokens);
  } else if (num_tokens <= 64) {
    bucket = (num_tokens + 7) / 8 * 8;
  } else {
    bucket = (num_tokens + 31) / 32 * 32;
  }
  return bucket <= most ? bucket : num_tokens;
}

}  // namespace

StepForms::StepForms(int max_tokens, int max_logits, const TransformerShape& shape)
    : max_tokens_(max_tokens),
      max_logits_(max_logits),
      group_(shape.num_heads / shape.num_kv_heads),
      num_kv_heads_(shape.num_kv_heads),
      few_decode_blocks_(shape.head_dim <= kSmallHeadDim ? kFewDecodeBlocksOfSmallHeads
                                                         : kFewDecodeBlocks),
      only_small_tiles_(shape.head_dim > kMostPrefillHeadDim) {}

bool StepForms::takes_small_tiles(const SequenceSlice& slice) const {
  return only_small_tiles_ || slice.num_tokens <= kMostDecodeTokens ||
         slice.num_tokens * group_ <= kDecodeTileRows;
}

bool StepForms::takes_decode_tiles(const SequenceSlice& slice) const {
  return group_ <= kDecodeTileRows && slice.num_tokens <= kMostDecodeTokens;
}

StepSizes StepForms::sizes_of(const StepInput& input, bool has_decode_kernel) const {
  StepSizes sizes;
  sizes.num_tokens = input.num_tokens();
  sizes.num_logits = static_cast<int>(input.logit_tokens.size());
  int longest = 1;  // of what takes tiles of 16 rows
  for (const auto& slice : input.sequences) {
    if (takes_small_tiles(slice))
      longest = std::max(longest, slice.first_position + slice.num_tokens);
    if (has_decode_kernel && takes_decode_tiles(slice)) {
      const int tiles = tiles_of(slice.num_tokens, tokens_of_decode_tile());
      sizes.num_decodes += tiles;
      sizes.num_slices += tiles;
      continue;
    }
    ++sizes.num_slices;
    const int rows = slice.num_tokens * group_;
    sizes.num_rotated_tokens += slice.num_tokens;
    if (takes_small_tiles(slice)) {
      sizes.num_small_tiles += tiles_of(rows, kDecodeTileRows);
    } else {
      sizes.num_prefill_tiles += tiles_of(rows, kPrefillTileRows);
    }
  }
  sizes.max_chunks = power_of_two((longest + kChunkPositions - 1) / kChunkPositions);
  return sizes;
}

bool StepForms::has_few_tokens(const StepInput& input) const {
  return !input.logit_tokens.empty() &&
         std::ranges::all_of(input.sequences, [](const SequenceSlice& slice) {
           return slice.num_tokens <= kMostDecodeTokens;
         });
}

StepSizes StepForms::padded_sizes(const StepInput& input, bool has_decode_kernel) const {
  const StepSizes sizes = sizes_of(input, has_decode_kernel);
  const bool only_decodes = sizes.num_decodes > 0;  // all slices are, or none
  return padded(bucket_of(input.num_tokens(), max_tokens_), only_decodes,
                only_decodes ? sizes.num_decodes : sizes.num_small_tiles, sizes.max_chunks);
}

/// Tokens decide all sizes but the number of tiles, which differs by how they are shared out.
StepSizes StepForms::padded(int num_tokens, bool only_decodes, int num_tiles,
                            int max_chunks) const {
  StepSizes sizes;
  sizes.num_tokens = num_tokens;
  sizes.num_logits = std::min(num_tokens, max_logits_);
  sizes.num_slices = num_tokens;
  sizes.max_chunks = max_chunks;
  // As many tiles as there can be, where that costs nothing: one form for all.
  const int most = num_tokens * tiles_of(group_, kDecodeTileRows);
  const int few_blocks = only_decodes ? few_decode_blocks_ : kFewBlocks;
  const bool has_few_blocks = most * num_kv_heads_ * max_chunks <= few_blocks;
  const int tiles = has_few_blocks ? most : std::min(power_of_two(num_tiles), most);
  if (only_decodes) {
    sizes.num_decodes = tiles;
  } else {
    sizes.num_rotated_tokens = num_tokens;
    sizes.num_small_tiles = tiles;
  }
  return sizes;
}

std::vector<StepSizes> StepForms::padded_sizes_within(const StepLimits& limits,
                                                      bool has_decode_kernel) const {
  std::vector<StepSizes> all;
  const int most_tokens = std::min(limits.num_tokens, max_tokens_);
  const bool are_decodes = has_decode_kernel && group_ <= kDecodeTileRows;
  const int chunks = (limits.num_positions + kChunkPositions - 1) / kChunkPositions;
  const auto add = [&](int num_tokens, bool only_decodes, int least_tiles, int most_tiles,
                       int max_chunks) {
    for (int tiles = least_tiles; tiles <= most_tiles; ++tiles) {
      const StepSizes sizes = padded(num_tokens, only_decodes, tiles, max_chunks);
      if (all.empty() || all.back() != sizes) all.push_back(sizes);
    }
  };
  for (int first = 1; first <= most_tokens;) {
    const int bucket = bucket_of(first, max_tokens_);
    const int slices = std::min(bucket, limits.num_sequences);
    for (int max_chunks = 1; max_chunks <= power_of_two(chunks); max_chunks *= 2) {
      if (are_decodes) {
        const int tokens = tokens_of_decode_tile();
        add(bucket, true, tiles_of(first, tokens), std::min(slices + bucket / tokens, bucket),
            max_chunks);
      } else {
        const int rows = bucket * group_;
        add(bucket, false, tiles_of(first * group_, kDecodeTileRows),
            std::min(slices + rows / kDecodeTileRows, bucket * tiles_of(group_, kDecodeTileRows)),
            max_chunks);
      }
    }
    first = bucket + 1;
  }
  return all;
}

}  // namespace iol::cuda
