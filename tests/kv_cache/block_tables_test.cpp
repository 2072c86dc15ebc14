#include "kv_cache/block_tables.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <set>

#include "base/random.h"

namespace iol {
namespace {

std::uint64_t always_collides(BlockId, std::span<const std::int32_t>) { return 7; }

Sequence make_sequence(std::vector<std::int32_t> tokens) {
  Sequence sequence;
  sequence.num_prompt_tokens = static_cast<int>(tokens.size());
  sequence.tokens = std::move(tokens);
  return sequence;
}

bool admit(BlockTables& tables, Sequence& sequence) {
  return tables.admit(sequence, sequence.num_tokens(), sequence.num_tokens());
}

void compute_all(BlockTables& tables, Sequence& sequence) {
  tables.advance(sequence, sequence.num_tokens() - sequence.num_computed_tokens);
}

TEST(BlockTables, a_hit_leaves_the_last_token_to_compute) {
  BlockTables tables({.num_blocks = 16, .block_size = 4});
  Sequence first = make_sequence({1, 2, 3, 4, 5, 6, 7, 8});
  ASSERT_TRUE(admit(tables, first));
  compute_all(tables, first);
  Sequence same = make_sequence(first.tokens);
  ASSERT_TRUE(admit(tables, same));
  EXPECT_EQ(same.num_cached_tokens, 4);
  EXPECT_EQ(same.num_computed_tokens, 4);
  Sequence longer = make_sequence({1, 2, 3, 4, 5, 6, 7, 8, 9});
  ASSERT_TRUE(admit(tables, longer));
  EXPECT_EQ(longer.num_cached_tokens, 8);
  EXPECT_EQ(tables.prefix_stats().num_queried_tokens, 25);
  EXPECT_EQ(tables.prefix_stats().num_hit_tokens, 12);
}

TEST(BlockTables, equal_blocks_computed_side_by_side_become_one) {
  BlockTables tables({.num_blocks = 16, .block_size = 4});
  Sequence a = make_sequence({1, 2, 3, 4, 5, 6, 7, 8, 9});
  Sequence b = make_sequence({1, 2, 3, 4, 5, 6, 7, 8, 10});
  ASSERT_TRUE(admit(tables, a));
  ASSERT_TRUE(admit(tables, b));
  EXPECT_EQ(tables.num_blocks_used(), 6);
  compute_all(tables, a);
  compute_all(tables, b);
  EXPECT_EQ(tables.num_blocks_used(), 4);
  EXPECT_EQ(a.block_table[1], b.block_table[1]);
  EXPECT_NE(a.block_table[2], b.block_table[2]);
}

TEST(BlockTables, clearing_prefixes_leaves_running_sequences_alone) {
  BlockTables tables({.num_blocks = 16, .block_size = 4});
  Sequence running = make_sequence({1, 2, 3, 4, 5});
  ASSERT_TRUE(admit(tables, running));
  compute_all(tables, running);
  Sequence ended = make_sequence({9, 9, 9, 9, 9});
  ASSERT_TRUE(admit(tables, ended));
  compute_all(tables, ended);
  tables.release(ended);
  EXPECT_EQ(tables.pool().num_cached(), 1);
  tables.clear_prefixes();
  EXPECT_EQ(tables.pool().num_cached(), 0);
  EXPECT_EQ(tables.num_blocks_used(), 2);
  // Its chain was cut: what it fills now can't be named, and must not be.
  for (int token = 6; token < 20; ++token) {
    running.tokens.push_back(token);
    ASSERT_TRUE(tables.extend(running, running.num_tokens()));
    tables.advance(running, 1);
  }
  EXPECT_EQ(tables.prefix_index().size(), 0);
  tables.release(running);
  EXPECT_EQ(tables.pool().num_free(), 16);
}

TEST(BlockTables, admission_counts_hits_that_nobody_holds) {
  BlockTables tables({.num_blocks = 4, .block_size = 4});
  Sequence first = make_sequence({1, 2, 3, 4, 5, 6, 7, 8});
  ASSERT_TRUE(admit(tables, first));
  compute_all(tables, first);
  tables.release(first);
  ASSERT_EQ(tables.pool().num_cached(), 2);
  Sequence longer = make_sequence({1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 9, 9, 9, 9, 9, 9});
  EXPECT_FALSE(admit(tables, longer));  // needs 5
  EXPECT_TRUE(longer.block_table.empty());
  EXPECT_EQ(tables.pool().num_cached(), 2);
  longer.tokens.resize(16);
  EXPECT_FALSE(tables.admit(longer, 16, 16, 1));
  EXPECT_TRUE(tables.admit(longer, 16, 16, 0));
  EXPECT_EQ(longer.num_cached_tokens, 8);
}

TEST(BlockTables, contiguous_tables_are_runs_for_the_whole_length) {
  BlockTables tables({.num_blocks = 8, .block_size = 4, .allocation = KvAllocation::kContiguous});
  Sequence sequence = make_sequence({1, 2, 3});
  ASSERT_TRUE(tables.admit(sequence, 3, 17));
  EXPECT_EQ(sequence.block_table, (std::vector<BlockId>{0, 1, 2, 3, 4}));
  tables.advance(sequence, 3);
  EXPECT_EQ(tables.pool_stats().num_wasted_tokens, 17);
  EXPECT_TRUE(tables.extend(sequence, 20));
  EXPECT_FALSE(tables.extend(sequence, 21));
  Sequence other = make_sequence({1});
  EXPECT_FALSE(tables.admit(other, 1, 16));
  EXPECT_TRUE(tables.admit(other, 1, 12));
}

/// Blocks stand for what was written into them: the tokens up to their end. A hit that gives a
/// sequence a block with other contents is the worst a prefix cache can do.
class Contents {
 public:
  void write(const Sequence& sequence, int begin, int end, int block_size) {
    for (int position = begin; position < end; ++position) {
      auto& content =
          blocks_[sequence.block_table[static_cast<std::size_t>(position / block_size)]];
      if (position % block_size == 0) content.clear();
      content = {sequence.tokens.begin(), sequence.tokens.begin() + position + 1};
    }
  }
  void expect_holds(const Sequence& sequence, int block_size) const {
    for (int begin = 0; begin < sequence.num_computed_tokens; begin += block_size) {
      const int end = std::min(begin + block_size, sequence.num_computed_tokens);
      const auto block = sequence.block_table[static_cast<std::size_t>(begin / block_size)];
      const std::vector<std::int32_t> expected(sequence.tokens.begin(),
                                               sequence.tokens.begin() + end);
      ASSERT_EQ(blocks_.at(block), expected);
    }
  }

 private:
  std::map<BlockId, std::vector<std::int32_t>> blocks_;
};

class BlockTablesRandom : public testing::TestWithParam<PrefixIndex::Hash> {};

TEST_P(BlockTablesRandom, every_block_holds_what_its_sequences_expect) {
  constexpr int kSize = 2;
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    RandomStream random(seed);
    BlockTables tables({.num_blocks = 8 + static_cast<int>(random.below(20)),
                        .block_size = kSize,
                        .prefix_hash = GetParam()});
    std::vector<std::unique_ptr<Sequence>> live;
    Contents contents;
    const auto release = [&](std::size_t i) {
      tables.release(*live[i]);
      live.erase(live.begin() + static_cast<std::ptrdiff_t>(i));
    };
    for (int step = 0; step < 600; ++step) {
      const auto move = random.below(10);
      if (move < 3) {
        std::vector<std::int32_t> tokens(1 + random.below(12));
        for (auto& token : tokens) token = static_cast<std::int32_t>(random.below(2));
        auto sequence = std::make_unique<Sequence>(make_sequence(tokens));
        if (admit(tables, *sequence)) {
          ASSERT_LT(sequence->num_computed_tokens, sequence->num_tokens());
          contents.expect_holds(*sequence, kSize);
          live.push_back(std::move(sequence));
        }
      } else if (move == 3 && !live.empty()) {
        release(random.below(live.size()));
      } else if (move == 4 && random.below(30) == 0) {
        tables.clear_prefixes();
      } else if (!live.empty()) {
        Sequence& sequence = *live[random.below(live.size())];
        if (sequence.num_computed_tokens == sequence.num_tokens()) {
          sequence.tokens.push_back(static_cast<std::int32_t>(random.below(2)));
        }
        const int missing = sequence.num_tokens() - sequence.num_computed_tokens;
        const int count = 1 + static_cast<int>(random.below(static_cast<std::uint64_t>(missing)));
        const int end = sequence.num_computed_tokens + count;
        if (tables.extend(sequence, end)) {
          contents.write(sequence, sequence.num_computed_tokens, end, kSize);
          tables.advance(sequence, count);
        }
      }
      std::set<BlockId> used;
      for (const auto& sequence : live) {
        contents.expect_holds(*sequence, kSize);
        used.insert(sequence->block_table.begin(), sequence->block_table.end());
      }
      ASSERT_EQ(tables.num_blocks_used(), static_cast<int>(used.size()));
    }
    while (!live.empty()) release(0);
    ASSERT_EQ(tables.pool().num_used(), 0);
    ASSERT_EQ(tables.pool().num_cached(), tables.prefix_index().size());
    tables.clear_prefixes();
    ASSERT_EQ(tables.pool().num_free(), tables.pool().num_blocks());
  }
}

INSTANTIATE_TEST_SUITE_P(hashes, BlockTablesRandom,
                         testing::Values(&PrefixIndex::default_hash, &always_collides));

}  // namespace
}  // namespace iol
