#include "kv_cache/block_pool.h"

#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <set>

#include "base/error.h"
#include "base/random.h"

namespace iol {
namespace {

/// What the pool should do, said as simply as can be.
struct NaivePool {
  std::map<BlockId, int> ref_counts;  // used blocks only
  std::set<BlockId> marked;
  std::deque<BlockId> cached;  // oldest first
  std::map<BlockId, int> filled;

  void release(BlockId block) {
    if (--ref_counts[block] > 0) return;
    ref_counts.erase(block);
    if (marked.contains(block)) {
      cached.push_back(block);
    } else {
      filled.erase(block);
    }
  }
  void share(BlockId block) {
    if (ref_counts[block]++ == 0) std::erase(cached, block);
  }
  void unmark(BlockId block) {
    marked.erase(block);
    if (std::erase(cached, block) > 0) filled.erase(block);
  }
};

void expect_equal(const BlockPool& pool, const NaivePool& naive) {
  std::int64_t num_wasted = 0;
  for (BlockId block = 0; block < pool.num_blocks(); ++block) {
    const auto expected = naive.ref_counts.find(block);
    const bool used = expected != naive.ref_counts.end();
    ASSERT_EQ(pool.ref_count(block), used ? expected->second : 0);
    ASSERT_EQ(pool.is_marked_cached(block), naive.marked.contains(block));
    if (used) {
      const auto filled = naive.filled.find(block);
      num_wasted += pool.block_size() - (filled == naive.filled.end() ? 0 : filled->second);
    }
  }
  const BlockPoolStats stats = pool.stats();
  ASSERT_EQ(stats.num_used, static_cast<int>(naive.ref_counts.size()));
  ASSERT_EQ(stats.num_cached, static_cast<int>(naive.cached.size()));
  ASSERT_EQ(stats.num_used + stats.num_cached + stats.num_free, stats.num_blocks);
  ASSERT_EQ(stats.num_wasted_tokens, num_wasted);
}

template <class Container>
BlockId pick(const Container& container, RandomStream& random) {
  auto position = container.begin();
  std::advance(position, random.below(container.size()));
  if constexpr (requires { position->first; }) {
    return position->first;
  } else {
    return *position;
  }
}

TEST(BlockPool, paged_agrees_with_a_naive_pool_over_random_operations) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    RandomStream random(seed);
    BlockPool pool(1 + static_cast<int>(random.below(40)), 4, KvAllocation::kPaged);
    NaivePool naive;
    for (int i = 0; i < 3000; ++i) {
      const auto move = random.below(8);
      if (move <= 1) {
        const auto block = pool.allocate();
        ASSERT_EQ(block.has_value(), static_cast<int>(naive.ref_counts.size() +
                                                      naive.cached.size()) < pool.num_blocks());
        if (block) {
          ASSERT_FALSE(naive.ref_counts.contains(*block));
          naive.ref_counts[*block] = 1;
        }
      } else if (move == 2) {
        const auto evicted = pool.evict();
        ASSERT_EQ(evicted.has_value(), !naive.cached.empty());
        if (evicted) {
          ASSERT_EQ(*evicted, naive.cached.front());
          naive.unmark(*evicted);
        }
      } else if (move == 3 && !naive.cached.empty()) {
        const BlockId block = pick(naive.cached, random);
        pool.share(block);
        naive.share(block);
      } else if (move == 4 && !naive.marked.empty()) {
        const BlockId block = pick(naive.marked, random);
        pool.unmark_cached(block);
        naive.unmark(block);
      } else if (!naive.ref_counts.empty()) {
        const BlockId block = pick(naive.ref_counts, random);
        if (move == 5) {
          pool.share(block);
          naive.share(block);
        } else if (move == 6) {
          pool.mark_cached(block);
          naive.marked.insert(block);
          pool.set_filled(block, 4);
          naive.filled[block] = 4;
        } else {
          pool.release(block);
          naive.release(block);
        }
      }
      expect_equal(pool, naive);
    }
  }
}

TEST(BlockPool, contiguous_hands_out_the_first_gap_that_fits) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    RandomStream random(seed);
    const int num_blocks = 20 + static_cast<int>(random.below(60));
    BlockPool pool(num_blocks, 16, KvAllocation::kContiguous);
    std::vector<bool> used(static_cast<std::size_t>(num_blocks));
    std::vector<std::pair<BlockId, int>> runs;
    const auto first_gap = [&](int count) -> std::optional<BlockId> {
      int length = 0;
      for (int i = 0; i < num_blocks; ++i) {
        length = used[static_cast<std::size_t>(i)] ? 0 : length + 1;
        if (length == count) return i - count + 1;
      }
      return std::nullopt;
    };
    for (int i = 0; i < 1000; ++i) {
      if (runs.empty() || random.below(2) == 0) {
        const int count = 1 + static_cast<int>(random.below(15));
        const auto begin = pool.allocate_run(count);
        ASSERT_EQ(begin, first_gap(count));
        if (!begin) continue;
        for (int b = *begin; b < *begin + count; ++b) used[static_cast<std::size_t>(b)] = true;
        runs.emplace_back(*begin, count);
      } else {
        const auto chosen = random.below(runs.size());
        const auto [begin, count] = runs[chosen];
        runs.erase(runs.begin() + static_cast<std::ptrdiff_t>(chosen));
        const bool forwards = random.below(2) == 0;
        for (int b = 0; b < count; ++b) {
          const int block = forwards ? begin + b : begin + count - 1 - b;
          pool.release(block);
          used[static_cast<std::size_t>(block)] = false;
        }
      }
      int largest = 0;
      while (first_gap(largest + 1)) ++largest;
      ASSERT_EQ(pool.stats().largest_free_run, largest);
      ASSERT_EQ(pool.num_used(), std::count(used.begin(), used.end(), true));
    }
  }
}

TEST(BlockPool, fragmentation_refuses_a_run_that_the_total_would_hold) {
  BlockPool pool(4, 16, KvAllocation::kContiguous);
  for (int i = 0; i < 4; ++i) ASSERT_EQ(pool.allocate_run(1), i);
  pool.release(0);
  pool.release(2);
  EXPECT_EQ(pool.num_free(), 2);
  EXPECT_EQ(pool.stats().largest_free_run, 1);
  EXPECT_EQ(pool.allocate_run(2), std::nullopt);
  pool.release(1);
  EXPECT_EQ(pool.allocate_run(3), 0);
}

TEST(BlockPool, counts_wasted_slots_and_the_peak) {
  BlockPool pool(4, 16, KvAllocation::kPaged);
  const BlockId full = *pool.allocate();
  const BlockId part = *pool.allocate();
  pool.set_filled(full, 16);
  pool.set_filled(part, 3);
  EXPECT_EQ(pool.stats().num_wasted_tokens, 13);
  pool.mark_cached(full);
  pool.release(full);
  pool.release(part);
  EXPECT_EQ(pool.stats().num_wasted_tokens, 0);
  EXPECT_EQ(pool.stats().peak_used, 2);
  pool.share(full);
  EXPECT_EQ(pool.stats().num_wasted_tokens, 0);
  pool.reset_peak();
  EXPECT_EQ(pool.stats().peak_used, 1);
}

TEST(BlockPool, misuse_throws_instead_of_corrupting) {
  BlockPool pool(2, 16, KvAllocation::kPaged);
  EXPECT_THROW(pool.release(0), InternalError);
  EXPECT_THROW(pool.release(-1), InternalError);
  EXPECT_THROW(pool.release(2), InternalError);
  EXPECT_THROW(pool.share(1), InternalError);
  EXPECT_THROW(pool.mark_cached(0), InternalError);
  EXPECT_THROW(pool.allocate_run(1), InternalError);
  const BlockId block = *pool.allocate();
  EXPECT_THROW(pool.set_filled(block, 17), InternalError);
  pool.release(block);
  EXPECT_THROW(pool.release(block), InternalError);
}

TEST(BlockPool, refuses_impossible_sizes) {
  EXPECT_THROW(BlockPool(0, 16, KvAllocation::kPaged), InputError);
  EXPECT_THROW(BlockPool(4, 0, KvAllocation::kPaged), InputError);
}

}  // namespace
}  // namespace iol
