#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "kv_cache/kv_allocation.h"
#include "request/sequence.h"

namespace iol {

struct BlockPoolStats {
  int num_blocks = 0;
  int num_used = 0;          // referenced by at least one sequence
  int num_free = 0;          // hold nothing
  int num_cached = 0;        // unreferenced, but their contents may be found again
  int peak_used = 0;         // since construction or reset_peak()
  int largest_free_run = 0;  // contiguous allocation: consecutive free blocks; else num_free
  std::int64_t num_wasted_tokens = 0;  // slots of used blocks that hold no token
};

/// Who holds which block of the key-value cache. Ids and counts only: the bytes are elsewhere.
///
/// A block is free, used (reference count > 0) or cached (reference count 0, contents kept for the
/// prefix index). Cached blocks are evicted in the order in which they were released.
///
/// Paged allocation hands out single blocks of any id, contiguous allocation runs of consecutive
/// ids by first fit. Every operation is O(1) but those on runs, which are linear in the number of
/// free runs. Not thread-safe. Misuse (releasing a free block, ...) throws InternalError.
class BlockPool {
 public:
  /// Throws InputError unless both counts are positive.
  BlockPool(int num_blocks, int block_size_tokens, KvAllocation allocation);

  /// A free block with one reference; nothing when none is free. Paged allocation only.
  std::optional<BlockId> allocate();
  /// The first of `count` consecutive blocks with one reference each; nothing when no gap is large
  /// enough. Contiguous allocation only.
  std::optional<BlockId> allocate_run(int count);
  /// One more reference to a used or cached block.
  void share(BlockId block);
  /// One reference less. The last one frees the block, or leaves it cached when it is marked so.
  void release(BlockId block);

  /// Marks a used block: it keeps its contents when released.
  void mark_cached(BlockId block);
  /// Takes the mark away; an unreferenced block becomes free.
  void unmark_cached(BlockId block);
  /// Frees the cached block released longest ago and returns its id; nothing when none is cached.
  std::optional<BlockId> evict();

  /// Tells how many tokens a used block holds, for the statistics.
  void set_filled(BlockId block, int num_tokens);

  [[nodiscard]] int num_blocks() const { return static_cast<int>(blocks_.size()); }
  [[nodiscard]] int block_size() const { return block_size_; }
  [[nodiscard]] KvAllocation allocation() const { return allocation_; }
  [[nodiscard]] int ref_count(BlockId block) const { return at(block).ref_count; }
  [[nodiscard]] bool is_marked_cached(BlockId block) const { return at(block).marked; }
  [[nodiscard]] int num_used() const { return num_used_; }
  [[nodiscard]] int num_cached() const { return num_cached_; }
  [[nodiscard]] int num_free() const { return num_blocks() - num_used_ - num_cached_; }
  /// Blocks that can be had, by eviction where need be.
  [[nodiscard]] int num_available() const { return num_blocks() - num_used_; }
  [[nodiscard]] BlockPoolStats stats() const;
  void reset_peak() { peak_used_ = num_used_; }

 private:
  static constexpr BlockId kNone = -1;
  struct Block {
    int ref_count = 0;
    int num_filled = 0;
    BlockId older = kNone;  // neighbours in the order of release, while cached
    BlockId newer = kNone;
    bool marked = false;
  };
  struct Run {
    BlockId begin;
    int count;
  };

  [[nodiscard]] const Block& at(BlockId block) const;
  Block& at(BlockId block);
  void start_using(Block& block);
  void free(BlockId block);
  void add_to_free_runs(BlockId block);
  void append_to_cached(BlockId block);
  void unlink_from_cached(BlockId block);

  int block_size_;
  KvAllocation allocation_;
  std::vector<Block> blocks_;
  std::vector<BlockId> free_blocks_;  // paged: a stack, so that recently used memory comes first
  std::vector<Run> free_runs_;        // contiguous: ascending, never adjacent
  BlockId oldest_cached_ = kNone;
  BlockId newest_cached_ = kNone;
  int num_used_ = 0;
  int num_cached_ = 0;
  int peak_used_ = 0;
  std::int64_t num_filled_tokens_ = 0;  // over used blocks
};

}  // namespace iol
