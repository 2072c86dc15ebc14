// Which decodes are shared out: host arithmetic alone.
#include "backend/cuda/decode_shares.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace iol::cuda {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

std::vector<std::int32_t> first_partials(const std::vector<int>& num_chunks, int num_kv_heads,
                                         int shares) {
  std::vector<std::int32_t> first(num_chunks.size(), -7);
  share_decodes(num_chunks, num_kv_heads, shares, first);
  return first;
}

TEST(DecodeShares, few_decodes_have_a_block_for_each_chunk) {
  EXPECT_EQ(most_shares(1, 8, 128), 128);
  EXPECT_EQ(most_shares(64, 8, 8), 8);
  EXPECT_EQ(most_shares(64, 8, 16), 8);
  EXPECT_EQ(most_shares(1024, 8, 16), 1);
  EXPECT_EQ(most_shares(0, 8, 16), 1);
}

TEST(DecodeShares, all_of_several_chunks_are_shared_where_there_is_room) {
  EXPECT_THAT(first_partials({1, 3, 2, 1, 5}, 8, 4), ElementsAre(-1, 0, 3, -1, 5));
  EXPECT_THAT(first_partials({1, 3, 2, 1, 5}, 8, 1), Each(-1));
}

TEST(DecodeShares, else_the_longest_are) {
  std::vector<int> num_chunks(200, 4);  // 800 chunks of eight heads
  num_chunks[7] = 90;
  num_chunks[150] = 100;
  const auto first = first_partials(num_chunks, 8, 2);
  EXPECT_EQ(first[7], 0);
  EXPECT_EQ(first[150], 90);
  for (std::size_t i = 0; i < first.size(); ++i) {
    if (i != 7 && i != 150) {
      EXPECT_EQ(first[i], -1) << i;
    }
  }
}

TEST(DecodeShares, entries_never_exceed_their_room) {
  for (const int count : {1, 50, 300}) {
    for (const int chunks : {1, 7, 33, 600, 5000}) {
      for (const int heads : {1, 8, 32}) {
        const std::vector<int> num_chunks(static_cast<std::size_t>(count), chunks);
        const auto first = first_partials(num_chunks, heads, 2);
        if (first.back() >= 0) {
          EXPECT_LE((first.back() + chunks) * heads, kPartialEntries);
        }
      }
    }
  }
}

}  // namespace
}  // namespace iol::cuda
