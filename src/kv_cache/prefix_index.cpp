#include "kv_cache/prefix_index.h"

#include <algorithm>
#include <bit>

#include "base/error.h"
#include "base/random.h"

namespace iol {

std::uint64_t PrefixIndex::default_hash(BlockId parent, std::span<const std::int32_t> tokens) {
  std::uint64_t hash = mix64(static_cast<std::uint32_t>(parent) + 0x9e3779b97f4a7c15ULL);
  for (const std::int32_t token : tokens) {
    hash = (hash ^ static_cast<std::uint32_t>(token)) * 0x9e3779b97f4a7c15ULL;
    hash ^= hash >> 32;
  }
  return mix64(hash);
}

PrefixIndex::PrefixIndex(int num_blocks, int block_size_tokens, Hash hash)
    : block_size_(static_cast<std::size_t>(block_size_tokens)), hash_(hash) {
  IOL_CHECK(num_blocks > 0 && block_size_tokens > 0);
  const auto count = static_cast<std::size_t>(num_blocks);
  entries_.resize(count);
  tokens_.resize(count * block_size_);
  buckets_.assign(std::bit_ceil(count), kNoParent);
}

std::optional<BlockId> PrefixIndex::find(BlockId parent,
                                         std::span<const std::int32_t> tokens) const {
  if (tokens.size() != block_size_) return std::nullopt;
  BlockId block = buckets_[bucket_of(parent, tokens)];
  while (block != kNoParent) {
    const Entry& entry = entries_[static_cast<std::size_t>(block)];
    if (entry.parent == parent && std::ranges::equal(tokens_of(block), tokens)) return block;
    block = entry.next;
  }
  return std::nullopt;
}

void PrefixIndex::find_prefix(std::span<const std::int32_t> tokens, int max_blocks,
                              std::vector<BlockId>& blocks) const {
  BlockId parent = kNoParent;
  for (int i = 0; i < max_blocks && tokens.size() >= block_size_; ++i) {
    const auto found = find(parent, tokens.first(block_size_));
    if (!found) return;
    blocks.push_back(*found);
    parent = *found;
    tokens = tokens.subspan(block_size_);
  }
}

void PrefixIndex::insert(BlockId parent, std::span<const std::int32_t> tokens, BlockId block) {
  IOL_CHECK(tokens.size() == block_size_);
  IOL_CHECK(block >= 0 && block < static_cast<BlockId>(entries_.size()) && !contains(block));
  IOL_CHECK(parent == kNoParent || contains(parent));
  Entry& entry = entries_[static_cast<std::size_t>(block)];
  entry.present = true;
  entry.parent = parent;
  entry.num_children = 0;
  entry.bucket = bucket_of(parent, tokens);
  entry.next = buckets_[entry.bucket];
  buckets_[entry.bucket] = block;
  if (parent != kNoParent) ++entries_[static_cast<std::size_t>(parent)].num_children;
  std::ranges::copy(tokens, tokens_.begin() + static_cast<std::ptrdiff_t>(
                                                  static_cast<std::size_t>(block) * block_size_));
  ++size_;
}

void PrefixIndex::erase(BlockId block) {
  IOL_CHECK(contains(block));
  Entry& entry = entries_[static_cast<std::size_t>(block)];
  IOL_CHECK(entry.num_children == 0);
  BlockId* link = &buckets_[entry.bucket];
  while (*link != block) link = &entries_[static_cast<std::size_t>(*link)].next;
  *link = entry.next;
  entry.present = false;
  if (entry.parent != kNoParent) --entries_[static_cast<std::size_t>(entry.parent)].num_children;
  --size_;
}

void PrefixIndex::clear() {
  std::ranges::fill(entries_, Entry{});
  std::ranges::fill(buckets_, kNoParent);
  size_ = 0;
}

bool PrefixIndex::contains(BlockId block) const {
  return block >= 0 && block < static_cast<BlockId>(entries_.size()) &&
         entries_[static_cast<std::size_t>(block)].present;
}

std::uint32_t PrefixIndex::bucket_of(BlockId parent, std::span<const std::int32_t> tokens) const {
  return static_cast<std::uint32_t>(hash_(parent, tokens) & (buckets_.size() - 1));
}

std::span<const std::int32_t> PrefixIndex::tokens_of(BlockId block) const {
  return std::span(tokens_).subspan(static_cast<std::size_t>(block) * block_size_, block_size_);
}

}  // namespace iol
