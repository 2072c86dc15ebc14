#include "kv_cache/swap_slots.h"

#include <gtest/gtest.h>

#include <set>

#include "kv_cache/block_tables.h"

namespace iol {
namespace {

Sequence make_sequence(int num_tokens, std::int32_t first = 0) {
  Sequence sequence;
  for (int i = 0; i < num_tokens; ++i) sequence.tokens.push_back(first + i);
  sequence.num_prompt_tokens = num_tokens;
  return sequence;
}

void admit_and_compute(BlockTables& tables, Sequence& sequence, int num_tokens) {
  ASSERT_TRUE(tables.admit(sequence, sequence.num_tokens(), sequence.num_tokens()));
  tables.advance(sequence, num_tokens - sequence.num_computed_tokens);
}

TEST(SwapSlots, gives_all_or_nothing) {
  SwapSlots slots(3);
  Sequence a;
  Sequence b;
  ASSERT_TRUE(slots.take(a, 2));
  EXPECT_FALSE(slots.take(b, 2));
  EXPECT_TRUE(b.swap_slots.empty());
  ASSERT_TRUE(slots.take(b, 1));
  EXPECT_EQ(slots.num_used(), 3);
  std::set<std::int32_t> all(a.swap_slots.begin(), a.swap_slots.end());
  all.insert(b.swap_slots.begin(), b.swap_slots.end());
  EXPECT_EQ(all, (std::set<std::int32_t>{0, 1, 2}));
  slots.release(a);
  EXPECT_TRUE(a.swap_slots.empty());
  EXPECT_EQ(slots.num_used(), 1);
}

TEST(Preemption, what_was_computed_goes_to_the_host_and_comes_back) {
  BlockTables tables(
      {.num_blocks = 4, .block_size = 4, .prefix_cache = false, .num_swap_slots = 8});
  Sequence a = make_sequence(10);
  admit_and_compute(tables, a, 9);  // its last block holds one
  const auto blocks = a.block_table;
  tables.preempt(a);
  EXPECT_EQ(tables.num_blocks_used(), 0);
  EXPECT_EQ(a.num_computed_tokens, 0);
  EXPECT_EQ(a.num_swapped_tokens, 9);
  ASSERT_EQ(tables.swap_copies().out.size(), 3U);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(tables.swap_copies().out[i].block, blocks[i]);
    EXPECT_EQ(tables.swap_copies().out[i].slot, a.swap_slots[i]);
  }
  const auto slots = a.swap_slots;
  tables.clear_swap_copies();
  ASSERT_TRUE(tables.admit(a, 10, 10));
  EXPECT_EQ(a.num_computed_tokens, 9);
  EXPECT_EQ(tables.num_swap_slots_used(), 0);
  ASSERT_EQ(tables.swap_copies().in.size(), 3U);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(tables.swap_copies().in[i].block, a.block_table[i]);
    EXPECT_EQ(tables.swap_copies().in[i].slot, slots[i]);
  }
}

TEST(Preemption, what_finds_no_room_is_recomputed) {
  BlockTables tables(
      {.num_blocks = 4, .block_size = 4, .prefix_cache = false, .num_swap_slots = 2});
  Sequence a = make_sequence(9);
  admit_and_compute(tables, a, 9);
  tables.preempt(a);
  EXPECT_TRUE(tables.swap_copies().empty());
  EXPECT_EQ(a.num_swapped_tokens, 0);
  ASSERT_TRUE(tables.admit(a, 9, 9));
  EXPECT_EQ(a.num_computed_tokens, 0);
}

TEST(Preemption, what_the_prefix_index_still_has_is_shared_and_not_copied) {
  BlockTables tables({.num_blocks = 6, .block_size = 4, .num_swap_slots = 8});
  Sequence a = make_sequence(14);
  admit_and_compute(tables, a, 13);
  const auto blocks = a.block_table;
  tables.preempt(a);
  Sequence other = make_sequence(13, 100);  // takes what is free, and the third of a
  admit_and_compute(tables, other, 1);
  tables.release(other);
  tables.clear_swap_copies();
  ASSERT_TRUE(tables.admit(a, 14, 14));
  EXPECT_EQ(a.num_cached_tokens, 8);
  EXPECT_EQ(a.num_computed_tokens, 13);
  EXPECT_EQ(a.block_table[0], blocks[0]);
  EXPECT_EQ(a.block_table[1], blocks[1]);
  ASSERT_EQ(tables.swap_copies().in.size(), 2U);
  EXPECT_EQ(tables.swap_copies().in[0].block, a.block_table[2]);
  // What came back is found by others.
  Sequence same = make_sequence(14);
  ASSERT_TRUE(tables.admit(same, 14, 14));
  EXPECT_EQ(same.num_cached_tokens, 12);
}

TEST(Preemption, whoever_ends_in_the_hosts_memory_leaves_it) {
  BlockTables tables({.num_blocks = 4, .block_size = 4, .num_swap_slots = 4});
  Sequence a = make_sequence(8);
  admit_and_compute(tables, a, 8);
  tables.preempt(a);
  EXPECT_EQ(tables.num_swap_slots_used(), 2);
  tables.release(a);
  EXPECT_EQ(tables.num_swap_slots_used(), 0);
  EXPECT_EQ(a.num_swapped_tokens, 0);
}

}  // namespace
}  // namespace iol
