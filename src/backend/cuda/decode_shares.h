#pragma once
// How decodes of several chunks of positions are shared out between blocks of threads, so that none
// is computed for long when the others are over. Host only.
#include <cstdint>
#include <span>

namespace iol::cuda {

/// Room for partial results of attention: chunks of a sequence and a key-value head.
inline constexpr int kPartialEntries = 4096;

/// Blocks that may share a decode, for each key-value head: one for each chunk where all of them
/// are few enough.
int most_shares(int num_decodes, int num_kv_heads, int max_chunks);

/// first_partials[i]: the first of decode i's entries (one a chunk, for each key-value head) where
/// its `num_chunks[i]` are shared out, else -1. The longest are; all of more than one chunk where
/// there is room for their partial results.
void share_decodes(std::span<const int> num_chunks, int num_kv_heads, int shares,
                   std::span<std::int32_t> first_partials);

}  // namespace iol::cuda
