#pragma once
#include <cstdint>
#include <vector>

#include "kv_cache/block_pool.h"
#include "kv_cache/prefix_index.h"
#include "kv_cache/swap_slots.h"
#include "request/block_copy.h"
#include "request/sequence.h"

namespace iol {

struct BlockTablesConfig {
  int num_blocks = 0;
  int block_size = 16;  // tokens
  KvAllocation allocation = KvAllocation::kPaged;
  bool prefix_cache = true;  // paged allocation only; ignored otherwise
  int num_swap_slots = 0;    // places in the host's memory for blocks of preempted sequences
  PrefixIndex::Hash prefix_hash = PrefixIndex::default_hash;
};

struct PrefixCacheStats {
  std::int64_t num_queried_tokens = 0;  // of admitted sequences
  std::int64_t num_hit_tokens = 0;
};

/// What has to be copied before the next step: first to the host, then from it.
struct SwapCopies {
  std::vector<BlockCopy> out;
  std::vector<BlockCopy> in;

  [[nodiscard]] bool empty() const { return out.empty() && in.empty(); }
  void clear() {
    out.clear();
    in.clear();
  }
};

/// Gives sequences their blocks: fills and empties Sequence::block_table.
///
/// With the prefix cache, the full blocks of a sequence are entries of the index. A sequence that
/// fills a block equal to an entry gives its own back and takes the entry's, so that a sequence
/// always holds the whole chain of entries that it extends; and blocks are released from the last
/// to the first. Together these make the pool's order of release a leaf-first order: evicting the
/// oldest cached block never leaves an entry without its parent.
///
/// Not thread-safe.
class BlockTables {
 public:
  explicit BlockTables(const BlockTablesConfig& config);

  /// Reserves blocks for a sequence without any. Paged: for `reserve_tokens` positions; contiguous:
  /// one run for `max_tokens` positions. Cached blocks of its prefix are shared and count as
  /// computed, except that at least the last token is left to compute. Sets block_table,
  /// num_cached_tokens and num_computed_tokens. What preempt() put away beyond its prefix counts as
  /// computed as well, and is to be copied back (swap_copies()). False, and nothing changed, when
  /// the blocks can't be had or (paged) fewer than `num_spare_blocks` would remain for others to
  /// grow into.
  bool admit(Sequence& sequence, int reserve_tokens, int max_tokens, int num_spare_blocks = 0);
  /// Makes the block table cover `num_tokens` positions. False, and nothing changed, when blocks
  /// have run out.
  bool extend(Sequence& sequence, int num_tokens);
  /// Blocks that extend() would take and that can be had.
  [[nodiscard]] int num_available_blocks() const { return pool_.num_available(); }
  /// Records that `num_tokens` more tokens are in the cache: advances num_computed_tokens and
  /// enters the blocks that became full into the index.
  void advance(Sequence& sequence, int num_tokens);
  /// Gives the last `num_blocks` blocks back, which hold no computed token.
  void shrink(Sequence& sequence, int num_blocks);
  /// Gives every block back. What they hold is to be copied to the host first (swap_copies()),
  /// where there is room for it; else it is to be computed again.
  void preempt(Sequence& sequence);
  /// Gives every block and every place in the host's memory back; nothing is computed any more.
  void release(Sequence& sequence);
  /// What calls of preempt() and admit() since clear_swap_copies() ask for. Blocks may be written,
  /// and slots used again, only behind these copies.
  [[nodiscard]] const SwapCopies& swap_copies() const { return copies_; }
  void clear_swap_copies() { copies_.clear(); }

  /// Forgets every cached prefix. Running sequences keep their blocks.
  void clear_prefixes();

  /// True when a sequence of this length fits into an otherwise empty cache.
  [[nodiscard]] bool can_ever_fit(int num_tokens) const;
  [[nodiscard]] int blocks_for(int num_tokens) const;
  [[nodiscard]] int block_size() const { return pool_.block_size(); }
  [[nodiscard]] BlockPoolStats pool_stats() const { return pool_.stats(); }
  [[nodiscard]] int num_blocks_used() const { return pool_.num_used(); }
  [[nodiscard]] int num_swap_slots() const { return swap_slots_.num_slots(); }
  [[nodiscard]] int num_swap_slots_used() const { return swap_slots_.num_used(); }
  [[nodiscard]] PrefixCacheStats prefix_stats() const { return prefix_stats_; }
  [[nodiscard]] const BlockPool& pool() const { return pool_; }
  [[nodiscard]] const PrefixIndex& prefix_index() const { return index_; }

 private:
  bool admit_paged(Sequence& sequence, int num_blocks, int num_spare_blocks);
  bool admit_contiguous(Sequence& sequence, int num_blocks);
  void release_blocks(Sequence& sequence);
  void bring_back(Sequence& sequence);
  void enter_block(Sequence& sequence, int block_index);
  BlockId take_block();

  BlockPool pool_;
  PrefixIndex index_;
  SwapSlots swap_slots_;
  SwapCopies copies_;
  bool prefix_cache_;
  PrefixCacheStats prefix_stats_;
};

}  // namespace iol
