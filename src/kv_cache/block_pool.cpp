#include "kv_cache/block_pool.h"

#include <algorithm>

#include "base/error.h"

namespace iol {

BlockPool::BlockPool(int num_blocks, int block_size_tokens, KvAllocation allocation)
    : block_size_(block_size_tokens), allocation_(allocation) {
  if (num_blocks < 1) {
    throw_input_error("the key-value cache needs at least one block, not {}; give it more tokens",
                      num_blocks);
  }
  if (block_size_tokens < 1) {
    throw_input_error("block_size is {} tokens; it must be at least 1", block_size_tokens);
  }
  blocks_.resize(static_cast<std::size_t>(num_blocks));
  if (allocation == KvAllocation::kPaged) {
    free_blocks_.reserve(blocks_.size());
    for (BlockId block = num_blocks - 1; block >= 0; --block) free_blocks_.push_back(block);
  } else {
    free_runs_.push_back({0, num_blocks});
  }
}

std::optional<BlockId> BlockPool::allocate() {
  IOL_CHECK(allocation_ == KvAllocation::kPaged);
  if (free_blocks_.empty()) return std::nullopt;
  const BlockId block = free_blocks_.back();
  free_blocks_.pop_back();
  start_using(at(block));
  return block;
}

std::optional<BlockId> BlockPool::allocate_run(int count) {
  IOL_CHECK(allocation_ == KvAllocation::kContiguous && count > 0);
  const auto run = std::find_if(free_runs_.begin(), free_runs_.end(),
                                [count](const Run& candidate) { return candidate.count >= count; });
  if (run == free_runs_.end()) return std::nullopt;
  const BlockId begin = run->begin;
  run->begin += count;
  run->count -= count;
  if (run->count == 0) free_runs_.erase(run);
  for (BlockId block = begin; block < begin + count; ++block) start_using(at(block));
  return begin;
}

void BlockPool::share(BlockId block) {
  Block& shared = at(block);
  if (shared.ref_count > 0) {
    ++shared.ref_count;
    return;
  }
  IOL_CHECK(shared.marked);  // a free block has nothing to share
  unlink_from_cached(block);
  start_using(shared);
  num_filled_tokens_ += shared.num_filled;
}

void BlockPool::release(BlockId block) {
  Block& released = at(block);
  IOL_CHECK(released.ref_count > 0);
  if (--released.ref_count > 0) return;
  --num_used_;
  num_filled_tokens_ -= released.num_filled;
  if (released.marked) {
    append_to_cached(block);
  } else {
    free(block);
  }
}

void BlockPool::mark_cached(BlockId block) {
  IOL_CHECK(at(block).ref_count > 0);
  at(block).marked = true;
}

void BlockPool::unmark_cached(BlockId block) {
  Block& unmarked = at(block);
  IOL_CHECK(unmarked.marked);
  if (unmarked.ref_count == 0) {
    unlink_from_cached(block);
    free(block);
  }
  unmarked.marked = false;
}

std::optional<BlockId> BlockPool::evict() {
  if (oldest_cached_ == kNone) return std::nullopt;
  const BlockId block = oldest_cached_;
  unmark_cached(block);
  return block;
}

void BlockPool::set_filled(BlockId block, int num_tokens) {
  Block& filled = at(block);
  IOL_CHECK(filled.ref_count > 0 && num_tokens >= 0 && num_tokens <= block_size_);
  num_filled_tokens_ += num_tokens - filled.num_filled;
  filled.num_filled = num_tokens;
}

BlockPoolStats BlockPool::stats() const {
  BlockPoolStats stats;
  stats.num_blocks = num_blocks();
  stats.num_used = num_used_;
  stats.num_free = num_free();
  stats.num_cached = num_cached_;
  stats.peak_used = peak_used_;
  stats.largest_free_run = num_free();
  if (allocation_ == KvAllocation::kContiguous) {
    stats.largest_free_run = 0;
    for (const Run& run : free_runs_) {
      stats.largest_free_run = std::max(stats.largest_free_run, run.count);
    }
  }
  stats.num_wasted_tokens = std::int64_t{num_used_} * block_size_ - num_filled_tokens_;
  return stats;
}

const BlockPool::Block& BlockPool::at(BlockId block) const {
  IOL_CHECK(block >= 0 && block < num_blocks());
  return blocks_[static_cast<std::size_t>(block)];
}

BlockPool::Block& BlockPool::at(BlockId block) {
  IOL_CHECK(block >= 0 && block < num_blocks());
  return blocks_[static_cast<std::size_t>(block)];
}

void BlockPool::start_using(Block& block) {
  block.ref_count = 1;
  ++num_used_;
  peak_used_ = std::max(peak_used_, num_used_);
}

void BlockPool::free(BlockId block) {
  at(block).num_filled = 0;
  if (allocation_ == KvAllocation::kPaged) {
    free_blocks_.push_back(block);
  } else {
    add_to_free_runs(block);
  }
}

void BlockPool::add_to_free_runs(BlockId block) {
  const auto after = std::lower_bound(free_runs_.begin(), free_runs_.end(), block,
                                      [](const Run& run, BlockId id) { return run.begin < id; });
  const bool joins_after = after != free_runs_.end() && after->begin == block + 1;
  const bool joins_before =
      after != free_runs_.begin() && (after - 1)->begin + (after - 1)->count == block;
  if (joins_before && joins_after) {
    (after - 1)->count += 1 + after->count;
    free_runs_.erase(after);
  } else if (joins_before) {
    ++(after - 1)->count;
  } else if (joins_after) {
    --after->begin;
    ++after->count;
  } else {
    free_runs_.insert(after, {block, 1});
  }
}

void BlockPool::append_to_cached(BlockId block) {
  Block& appended = at(block);
  appended.older = newest_cached_;
  appended.newer = kNone;
  (newest_cached_ == kNone ? oldest_cached_ : at(newest_cached_).newer) = block;
  newest_cached_ = block;
  ++num_cached_;
}

void BlockPool::unlink_from_cached(BlockId block) {
  const Block& unlinked = at(block);
  (unlinked.older == kNone ? oldest_cached_ : at(unlinked.older).newer) = unlinked.newer;
  (unlinked.newer == kNone ? newest_cached_ : at(unlinked.newer).older) = unlinked.older;
  --num_cached_;
}

}  // namespace iol
