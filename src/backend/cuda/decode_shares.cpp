#include "backend/cuda/decode_shares.h"

#include <algorithm>

namespace iol::cuda {

int most_shares(int num_decodes, int num_kv_heads, int max_chunks) {
  if (num_decodes == 0) return 1;
  return std::clamp(kPartialEntries / (num_decodes * num_kv_heads), 1, max_chunks);
}

void share_decodes(std::span<const int> num_chunks, int num_kv_heads, int shares,
                   std::span<std::int32_t> first_partials) {
  const auto entries_beyond = [&](int alone) {
    std::int64_t chunks = 0;
    for (const int count : num_chunks) chunks += count > alone ? count : 0;
    return chunks * num_kv_heads;
  };
  int alone = 1;  // chunks of a decode that isn't shared out
  while (entries_beyond(alone) > kPartialEntries) alone *= 2;
  std::int32_t next = 0;
  for (std::size_t i = 0; i < num_chunks.size(); ++i) {
    const bool is_shared = shares > 1 && num_chunks[i] > alone;
    first_partials[i] = is_shared ? next : -1;
    if (is_shared) next += num_chunks[i];
  }
}

}  // namespace iol::cuda
