#include "kv_cache/prefix_index.h"

#include <gtest/gtest.h>

#include <map>

#include "base/error.h"
#include "base/random.h"

namespace iol {
namespace {

using Tokens = std::vector<std::int32_t>;

std::uint64_t always_collides(BlockId, std::span<const std::int32_t>) { return 42; }
std::uint64_t nearly_always_collides(BlockId parent, std::span<const std::int32_t>) {
  return static_cast<std::uint64_t>(parent) & 1U;
}

Tokens random_tokens(RandomStream& random, std::size_t count, int alphabet) {
  Tokens tokens(count);
  for (auto& token : tokens) {
    token = static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(alphabet)));
  }
  return tokens;
}

/// Every cached prefix in full, and the block of its last part.
using NaiveIndex = std::map<Tokens, BlockId>;

std::vector<BlockId> naive_prefix(const NaiveIndex& index, const Tokens& tokens, std::size_t size,
                                  int max_blocks) {
  std::vector<BlockId> blocks;
  for (std::size_t length = size; length <= tokens.size(); length += size) {
    const Tokens prefix(tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(length));
    const auto found = index.find(prefix);
    if (found == index.end() || static_cast<int>(blocks.size()) == max_blocks) break;
    blocks.push_back(found->second);
  }
  return blocks;
}

bool has_child(const NaiveIndex& index, const Tokens& prefix) {
  for (const auto& [tokens, block] : index) {
    if (tokens.size() > prefix.size() && std::equal(prefix.begin(), prefix.end(), tokens.begin())) {
      return true;
    }
  }
  return false;
}

class PrefixIndexHash : public testing::TestWithParam<PrefixIndex::Hash> {};

TEST_P(PrefixIndexHash, agrees_with_a_brute_force_search) {
  constexpr std::size_t kSize = 3;
  constexpr int kNumBlocks = 24;
  for (std::uint64_t seed = 0; seed < 15; ++seed) {
    RandomStream random(seed);
    PrefixIndex index(kNumBlocks, kSize, GetParam());
    NaiveIndex naive;
    for (int i = 0; i < 1500; ++i) {
      const Tokens tokens = random_tokens(random, 1 + random.below(16), 2);
      const int max_blocks = static_cast<int>(random.below(7));
      std::vector<BlockId> found;
      index.find_prefix(tokens, max_blocks, found);
      ASSERT_EQ(found, naive_prefix(naive, tokens, kSize, max_blocks));

      const auto whole = naive_prefix(naive, tokens, kSize, kNumBlocks);
      const Tokens longer(tokens.begin(),
                          tokens.begin() + static_cast<std::ptrdiff_t>(std::min(
                                               tokens.size(), (whole.size() + 1) * kSize)));
      if (longer.size() == (whole.size() + 1) * kSize && naive.size() < kNumBlocks) {
        BlockId free = 0;
        while (index.contains(free)) ++free;
        index.insert(whole.empty() ? PrefixIndex::kNoParent : whole.back(),
                     std::span(longer).last(kSize), free);
        naive[longer] = free;
      }
      if (!naive.empty() && random.below(3) == 0) {
        auto victim = naive.begin();
        std::advance(victim, random.below(naive.size()));
        if (has_child(naive, victim->first)) {
          ASSERT_THROW(index.erase(victim->second), InternalError);
        } else {
          index.erase(victim->second);
          naive.erase(victim);
        }
      }
      if (random.below(400) == 0) {
        index.clear();
        naive.clear();
      }
      ASSERT_EQ(index.size(), static_cast<int>(naive.size()));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(hashes, PrefixIndexHash,
                         testing::Values(&PrefixIndex::default_hash, &always_collides,
                                         &nearly_always_collides));

TEST(PrefixIndex, equal_tokens_after_another_parent_are_another_entry) {
  PrefixIndex index(4, 2);
  const Tokens a{1, 2};
  const Tokens b{3, 4};
  index.insert(PrefixIndex::kNoParent, a, 0);
  index.insert(0, b, 1);
  EXPECT_EQ(index.find(PrefixIndex::kNoParent, b), std::nullopt);
  EXPECT_EQ(index.find(0, b), 1);
  EXPECT_EQ(index.find(1, b), std::nullopt);
  EXPECT_EQ(index.find(0, Tokens{3}), std::nullopt);
}

TEST(PrefixIndex, refuses_a_parent_that_is_no_entry) {
  PrefixIndex index(4, 2);
  EXPECT_THROW(index.insert(3, Tokens{1, 2}, 0), InternalError);
  EXPECT_THROW(index.insert(PrefixIndex::kNoParent, Tokens{1}, 0), InternalError);
  EXPECT_THROW(index.erase(0), InternalError);
}

TEST(PrefixIndex, default_hash_spreads_similar_blocks) {
  std::map<std::uint64_t, int> buckets;
  for (int parent = -1; parent < 63; ++parent) {
    for (int token = 0; token < 64; ++token) {
      ++buckets[PrefixIndex::default_hash(parent, Tokens{token, 7, 7, 7}) & 4095U];
    }
  }
  int fullest = 0;
  for (const auto& [bucket, count] : buckets) fullest = std::max(fullest, count);
  EXPECT_LE(fullest, 10);  // 4096 keys in 4096 buckets: more has a probability under 1e-3
}

}  // namespace
}  // namespace iol
