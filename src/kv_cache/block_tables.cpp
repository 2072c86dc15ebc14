#include "kv_cache/block_tables.h"

#include <algorithm>
#include <span>

#include "base/error.h"

namespace iol {

BlockTables::BlockTables(const BlockTablesConfig& config)
    : pool_(config.num_blocks, config.block_size, config.allocation),
      index_(config.num_blocks, config.block_size, config.prefix_hash),
      swap_slots_(config.num_swap_slots),
      prefix_cache_(config.prefix_cache && config.allocation == KvAllocation::kPaged) {}

bool BlockTables::admit(Sequence& sequence, int reserve_tokens, int max_tokens,
                        int num_spare_blocks) {
  IOL_CHECK(sequence.block_table.empty() && sequence.num_tokens() > 0);
  IOL_CHECK(reserve_tokens >= sequence.num_tokens() && max_tokens >= sequence.num_tokens());
  const bool admitted = pool_.allocation() == KvAllocation::kPaged
                            ? admit_paged(sequence, blocks_for(reserve_tokens), num_spare_blocks)
                            : admit_contiguous(sequence, blocks_for(max_tokens));
  if (!admitted) return false;
  if (prefix_cache_) {
    prefix_stats_.num_queried_tokens += sequence.num_tokens();
    prefix_stats_.num_hit_tokens += sequence.num_cached_tokens;
  }
  if (!sequence.swap_slots.empty()) bring_back(sequence);
  return true;
}

bool BlockTables::admit_paged(Sequence& sequence, int num_blocks, int num_spare_blocks) {
  auto& table = sequence.block_table;
  if (prefix_cache_) {
    // The last token is always computed: its logits are wanted, and only blocks are cached.
    const int max_hits = (sequence.num_tokens() - 1) / block_size();
    index_.find_prefix(sequence.tokens, max_hits, table);
  }
  const int num_hits = static_cast<int>(table.size());
  // A hit that nobody references is available now and will not be once it is shared.
  const auto num_idle_hits =
      std::ranges::count_if(table, [this](BlockId block) { return pool_.ref_count(block) == 0; });
  const auto num_needed = num_blocks - num_hits + num_idle_hits;
  if (pool_.num_available() - num_needed < num_spare_blocks) {
    table.clear();
    return false;
  }
  for (const BlockId block : table) pool_.share(block);
  while (static_cast<int>(table.size()) < num_blocks) table.push_back(take_block());
  sequence.num_cached_tokens = num_hits * block_size();
  sequence.num_computed_tokens = sequence.num_cached_tokens;
  return true;
}

bool BlockTables::admit_contiguous(Sequence& sequence, int num_blocks) {
  const auto begin = pool_.allocate_run(num_blocks);
  if (!begin) return false;
  for (int i = 0; i < num_blocks; ++i) sequence.block_table.push_back(*begin + i);
  sequence.num_cached_tokens = 0;
  sequence.num_computed_tokens = 0;
  return true;
}

bool BlockTables::extend(Sequence& sequence, int num_tokens) {
  auto& table = sequence.block_table;
  const int num_more = blocks_for(num_tokens) - static_cast<int>(table.size());
  if (num_more <= 0) return true;
  // The run of a contiguous sequence is as long as it will ever be.
  if (pool_.allocation() == KvAllocation::kContiguous) return false;
  if (num_more > pool_.num_available()) return false;
  for (int i = 0; i < num_more; ++i) table.push_back(take_block());
  return true;
}

void BlockTables::advance(Sequence& sequence, int num_tokens) {
  const int size = block_size();
  const int begin = sequence.num_computed_tokens;
  const int end = begin + num_tokens;
  IOL_CHECK(num_tokens >= 0 && end <= sequence.num_tokens());
  IOL_CHECK(blocks_for(end) <= static_cast<int>(sequence.block_table.size()));
  sequence.num_computed_tokens = end;
  for (int i = begin / size; i * size < end; ++i) {
    const int num_filled = std::min(size, end - i * size);
    pool_.set_filled(sequence.block_table[static_cast<std::size_t>(i)], num_filled);
    if (num_filled == size && prefix_cache_) enter_block(sequence, i);
  }
}

void BlockTables::enter_block(Sequence& sequence, int block_index) {
  const auto i = static_cast<std::size_t>(block_index);
  const auto size = static_cast<std::size_t>(block_size());
  BlockId& block = sequence.block_table[i];
  const BlockId parent = i == 0 ? PrefixIndex::kNoParent : sequence.block_table[i - 1];
  // After clear_prefixes() the blocks before this one are entries no more: the chain ends there.
  if (i > 0 && !index_.contains(parent)) return;
  const auto tokens = std::span(sequence.tokens).subspan(i * size, size);
  if (const auto equal = index_.find(parent, tokens)) {
    pool_.share(*equal);
    pool_.release(block);
    block = *equal;
  } else {
    index_.insert(parent, tokens, block);
    pool_.mark_cached(block);
  }
}

void BlockTables::shrink(Sequence& sequence, int num_blocks) {
  auto& table = sequence.block_table;
  IOL_CHECK(num_blocks >= 0 && blocks_for(sequence.num_computed_tokens) + num_blocks <=
                                   static_cast<int>(table.size()));
  for (int i = 0; i < num_blocks; ++i) {
    pool_.release(table.back());
    table.pop_back();
  }
}

void BlockTables::preempt(Sequence& sequence) {
  const int num_blocks = blocks_for(sequence.num_computed_tokens);
  if (num_blocks > 0 && swap_slots_.take(sequence, num_blocks)) {
    sequence.num_swapped_tokens = sequence.num_computed_tokens;
    for (std::size_t i = 0; i < sequence.swap_slots.size(); ++i)
      copies_.out.push_back({sequence.block_table[i], sequence.swap_slots[i]});
  }
  release_blocks(sequence);
}

/// Behind what the prefix index had: its entries hold the same keys and values.
void BlockTables::bring_back(Sequence& sequence) {
  const auto num_found = static_cast<std::size_t>(sequence.num_computed_tokens / block_size());
  const int num_missing = sequence.num_swapped_tokens - sequence.num_computed_tokens;
  if (num_missing > 0) advance(sequence, num_missing);
  for (std::size_t i = num_found; i < sequence.swap_slots.size(); ++i)
    copies_.in.push_back({sequence.block_table[i], sequence.swap_slots[i]});
  swap_slots_.release(sequence);
}

void BlockTables::release(Sequence& sequence) {
  release_blocks(sequence);
  swap_slots_.release(sequence);
}

void BlockTables::release_blocks(Sequence& sequence) {
  auto& table = sequence.block_table;
  while (!table.empty()) {
    pool_.release(table.back());
    table.pop_back();
  }
  sequence.num_computed_tokens = 0;
}

void BlockTables::clear_prefixes() {
  for (BlockId block = 0; block < pool_.num_blocks(); ++block) {
    if (pool_.is_marked_cached(block)) pool_.unmark_cached(block);
  }
  index_.clear();
}

bool BlockTables::can_ever_fit(int num_tokens) const {
  return blocks_for(num_tokens) <= pool_.num_blocks();
}

int BlockTables::blocks_for(int num_tokens) const {
  return num_tokens / block_size() + (num_tokens % block_size() != 0 ? 1 : 0);
}

BlockId BlockTables::take_block() {
  if (pool_.num_free() == 0) {
    const auto evicted = pool_.evict();
    IOL_CHECK(evicted.has_value());
    index_.erase(*evicted);
  }
  return *pool_.allocate();
}

}  // namespace iol
