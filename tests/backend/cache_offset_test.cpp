// Where the GPU's cache has keys and values: each element of a block at a place of its own, and
// neighbours where kernels take them together.
#include "backend/cuda/kernels/kernels.h"

#include <gtest/gtest.h>

#include <vector>

namespace iol::cuda {
namespace {

TEST(CacheOffset, elements_have_places_of_their_own) {
  constexpr int kBlockSize = 32;
  for (const int head_dim : {16, 80, 128}) {
    for (const int bytes : {1, 2, 4}) {
      for (const bool is_value : {false, true}) {
        std::vector<int> taken(static_cast<std::size_t>(kBlockSize * head_dim));
        for (int position = 0; position < kBlockSize; ++position)
          for (int d = 0; d < head_dim; ++d)
            ++taken.at(
                static_cast<std::size_t>(cache_offset(bytes, head_dim, is_value, position, d)));
        EXPECT_EQ(taken, std::vector<int>(taken.size(), 1)) << head_dim << ", " << bytes;
      }
    }
  }
}

TEST(CacheOffset, neighbours_along_k_are_neighbours) {
  constexpr int kHeadDim = 64;
  for (const int bytes : {1, 2}) {
    const int together = bytes == 2 ? 8 : 4;
    for (int row = 0; row < 16; ++row) {
      for (int k = 0; k < 16; ++k) {
        const int first = k / together * together;
        EXPECT_EQ(cache_offset(bytes, kHeadDim, false, row, k),
                  cache_offset(bytes, kHeadDim, false, row, first) + k - first);
        EXPECT_EQ(cache_offset(bytes, kHeadDim, true, k, row),
                  cache_offset(bytes, kHeadDim, true, first, row) + k - first);
      }
    }
  }
}

}  // namespace
}  // namespace iol::cuda
