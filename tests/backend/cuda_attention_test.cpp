// attention_decode() against the kernels that do its parts one after the other, and a step that has
// both: results and the cache have the same bits. Those are compared with the CPU backend in
// cuda_backend_test.cpp; of caches of codes results also with double precision, over many
// magnitudes. Needs a GPU.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "backend/cuda/cuda_device.h"
#include "bench/kernels/attention_case.h"
#include "tests/backend/attention_reference.h"
#include "tests/backend/device_numbers.h"

namespace iol::cuda {
namespace {

struct Heads {
  int num_heads, num_kv_heads, head_dim;
};

class CudaAttentionTest : public testing::TestWithParam<CacheElement> {
 protected:
  void SetUp() override {
    if (cuda_status().devices.empty()) GTEST_SKIP() << cuda_status().reason;
  }
};

/// Bits of the largest magnitude of each decode's rows of the results, zero for prompts.
std::vector<std::uint32_t> largest_of_decodes(const AttentionCase& attention,
                                              const std::vector<std::byte>& results) {
  const AttentionShape& shape = attention.shape();
  const auto columns = static_cast<std::size_t>(shape.num_heads * shape.head_dim);
  std::vector<std::uint32_t> largest(static_cast<std::size_t>(attention.num_tokens()));
  std::size_t token = 0;
  for (const AttentionSequence& sequence : shape.sequences) {
    const bool is_decode = sequence.num_tokens <= kMostDecodeTokens;
    for (int t = 0; t < sequence.num_tokens; ++t, ++token) {
      for (std::size_t i = token * columns; is_decode && i < (token + 1) * columns; ++i) {
        std::uint16_t bits;
        std::memcpy(&bits, results.data() + 2 * i, 2);
        bits &= 0x7fffU;
        const float size =
            shape.element == CacheElement::kF16 ? f16_to_f32(bits) : bf16_to_f32(bits);
        largest[token] = std::max(largest[token], std::bit_cast<std::uint32_t>(size));
      }
    }
  }
  return largest;
}

/// All sequences in tiles of 16 rows, against decodes and prompts by kernels of their own.
void expect_same_bits(const AttentionShape& shape, int shares) {
  const AttentionCase attention(shape);
  const Stream stream;
  attention.clear();
  rope_append(attention.heads(), stream.get());
  cuda::attention(attention.attention(false), stream.get());
  stream.synchronize("the parts");
  check_launch("the parts");
  const auto want = attention.results();
  const auto want_largest = largest_of_decodes(attention, want);
  const DeviceBuffer largest(want_largest.size() * 4, "the largest");
  // Twice: arrivals are counted from zero again.
  for (int repetition = 0; repetition < 2; ++repetition) {
    attention.clear();
    rope_append(attention.prompt_heads(), stream.get());
    AttentionTask decodes = attention.decodes(shares);
    decodes.next_largest = largest.as<std::uint32_t>();
    check(cudaMemset(largest.data(), 0, largest.size_bytes()), "clearing the largest");
    check(cudaDeviceSynchronize(), "clearing the largest");
    attention_decode(decodes, attention.heads(), stream.get());
    cuda::attention(attention.prompts(), stream.get());
    stream.synchronize("the whole");
    check_launch("the whole");
    const auto got = attention.results();
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < got.size(); ++i) wrong += got[i] != want[i] ? 1 : 0;
    const std::size_t first = static_cast<std::size_t>(
        std::mismatch(got.begin(), got.end(), want.begin()).first - got.begin());
    ASSERT_EQ(wrong, 0U) << "of " << got.size() << ", from " << first << " on; "
                         << attention.num_tokens() << " tokens";
    ASSERT_EQ(download<std::uint32_t>(largest), want_largest);
  }
}

/// Places where something begins or ends: runs, blocks, warps, chunks; up to `most_tokens` each.
std::vector<AttentionSequence> borders(int most_tokens) {
  std::vector<AttentionSequence> sequences;
  for (const int position : {0, 1, 15, 16, 63, 64, 130, 199, 239, 254, 255, 256, 300, 511, 700}) {
    sequences.push_back({1, position});
    sequences.push_back({1 + position % most_tokens, position});
    sequences.push_back({most_tokens, position});
  }
  return sequences;
}

constexpr Heads kHeads[] = {{8, 1, 64},  {4, 4, 64},   {32, 2, 64}, {14, 2, 64},
                            {8, 2, 128}, {16, 1, 128}, {3, 3, 128}};

/// A short window comes with large blocks.
AttentionShape shape_of(CacheElement element, const Heads& heads, int window, bool has_norms,
                        const std::vector<AttentionSequence>& sequences) {
  return {element, heads.num_heads, heads.num_kv_heads, heads.head_dim, window == 20 ? 32 : 16,
          window,  has_norms,       sequences};
}

TEST_P(CudaAttentionTest, decodes_have_the_bits_of_their_parts) {
  for (const Heads& heads : kHeads) {
    for (const bool has_norms : {false, true}) {
      for (const int window : {0, 20, 300}) {
        for (const int shares : {1, 2, 3}) {
          SCOPED_TRACE(fmt::format("{}/{} heads of {}, norms {}, window {}, shares {}",
                                   heads.num_heads, heads.num_kv_heads, heads.head_dim, has_norms,
                                   window, shares));
          const auto sequences = borders(kDecodeTileRows * heads.num_kv_heads / heads.num_heads);
          ASSERT_NO_FATAL_FAILURE(
              expect_same_bits(shape_of(GetParam(), heads, window, has_norms, sequences), shares));
        }
      }
    }
  }
}

// Drafts of several tiles, each of which appends what is in front of it; many of them, and few.
TEST_P(CudaAttentionTest, drafts_of_several_tiles_have_the_bits_of_their_parts) {
  const std::vector<AttentionSequence> few = {{17, 0}, {9, 250}, {7, 300}, {17, 511}, {3, 700}};
  for (const Heads& heads : kHeads) {
    for (const bool has_norms : {false, true}) {
      for (const int window : {0, 20, 300}) {
        for (const int shares : {1, 2, 3}) {
          for (const auto& sequences : {borders(kMostDecodeTokens), few}) {
            SCOPED_TRACE(fmt::format("{}/{} heads of {}, norms {}, window {}, shares {}, {} drafts",
                                     heads.num_heads, heads.num_kv_heads, heads.head_dim, has_norms,
                                     window, shares, sequences.size()));
            ASSERT_NO_FATAL_FAILURE(expect_same_bits(
                shape_of(GetParam(), heads, window, has_norms, sequences), shares));
          }
        }
      }
    }
  }
}

// More blocks of threads than find room at once: values take the place of keys.
TEST_P(CudaAttentionTest, many_decodes_have_the_bits_of_their_parts) {
  for (const Heads& heads : {Heads{32, 4, 64}, Heads{16, 4, 128}}) {
    for (const int most_position : {240, 600}) {
      for (const int shares : {1, 2, 3}) {
        SCOPED_TRACE(
            fmt::format("heads of {}, up to {}, shares {}", heads.head_dim, most_position, shares));
        AttentionShape shape = {
            GetParam(), heads.num_heads, heads.num_kv_heads, heads.head_dim, 16, 0, false, {}};
        for (int i = 0; i < 301; ++i)
          shape.sequences.push_back({1 + i % 2, i * 37 % most_position});
        ASSERT_NO_FATAL_FAILURE(expect_same_bits(shape, shares));
      }
    }
  }
}

// Blocks that walk over several chunks and share a decode with others.
TEST_P(CudaAttentionTest, long_decodes_have_the_bits_of_their_parts) {
  for (const Heads& heads : {Heads{8, 2, 64}, Heads{16, 1, 128}}) {
    for (const int shares : {1, 2, 5, 16}) {
      for (const int window : {0, 1000}) {
        SCOPED_TRACE(
            fmt::format("heads of {}, shares {}, window {}", heads.head_dim, shares, window));
        AttentionShape shape = {
            GetParam(), heads.num_heads, heads.num_kv_heads, heads.head_dim, 16, window, false, {}};
        for (const int position : {100, 1535, 1536, 3000, 3839, 4090})
          shape.sequences.push_back({1, position});
        ASSERT_NO_FATAL_FAILURE(expect_same_bits(shape, shares));
      }
    }
  }
}

TEST_P(CudaAttentionTest, decodes_beside_prompts_have_the_bits_of_their_parts) {
  for (const Heads& heads : kHeads) {
    for (const int window : {0, 300}) {
      for (const int shares : {1, 2, 3}) {
        SCOPED_TRACE(fmt::format("{}/{} heads of {}, window {}, shares {}", heads.num_heads,
                                 heads.num_kv_heads, heads.head_dim, window, shares));
        AttentionShape shape = {
            GetParam(), heads.num_heads, heads.num_kv_heads, heads.head_dim, 16, window, true, {}};
        const int group = heads.num_heads / heads.num_kv_heads;
        shape.sequences = borders(kDecodeTileRows / group);
        // Prompts from their beginning and chunks of them; a number of tiles that three don't
        // divide.
        for (const int first : {0, 5, 250, 500})
          for (const int count : {33, 64, 130, 257 + first % 7})
            shape.sequences.push_back({count, first});
        ASSERT_NO_FATAL_FAILURE(expect_same_bits(shape, shares));
      }
    }
  }
}

/// Every result of the last repetition against double precision.
void expect_reference(const AttentionCase& attention) {
  const AttentionShape& shape = attention.shape();
  const std::vector<std::byte> results = attention.results();
  const auto layer = std::span(results).subspan(attention.out_bytes());
  const auto dim = static_cast<std::size_t>(shape.head_dim);
  std::size_t row = 0;
  double worst = 0;
  for (std::size_t s = 0; s < shape.sequences.size(); ++s) {
    for (int token = 0; token < shape.sequences[s].num_tokens; ++token) {
      for (int head = 0; head < shape.num_heads; ++head, ++row) {
        if (shape.sequences[s].num_tokens > 16 && (token + head) % 7 != 0) continue;  // slow
        const AttentionReference want = attention_reference(attention, layer, s, token, head);
        for (std::size_t d = 0; d < dim; ++d) {
          std::uint16_t bits;
          std::memcpy(&bits, &results[(row * dim + d) * 2], 2);
          const double got = double{std::bit_cast<float>(std::uint32_t{bits} << 16)};
          ASSERT_LE(std::abs(got - want.out[d]), want.most[d])
              << "sequence " << s << ", token " << token << ", head " << head << ", element " << d
              << ": " << got << " instead of " << want.out[d];
          worst = std::max(worst, std::abs(got - want.out[d]) / want.most[d]);
        }
      }
    }
  }
  // The bound is one that results come near.
  EXPECT_GT(worst, 0.25);
}

TEST_P(CudaAttentionTest, codes_of_all_magnitudes_give_what_double_precision_gives) {
  if (!is_coded(GetParam())) GTEST_SKIP() << "not a cache of codes";
  for (const Heads& heads : {Heads{8, 2, 64}, Heads{4, 1, 128}}) {
    for (const int window : {0, 300}) {
      for (const int spread : {0, 13, 40}) {
        SCOPED_TRACE(
            fmt::format("heads of {}, window {}, spread {}", heads.head_dim, window, spread));
        AttentionShape shape = {
            GetParam(), heads.num_heads, heads.num_kv_heads, heads.head_dim, 16, window, false, {}};
        shape.spread = spread;
        for (const int position : {0, 1, 17, 63, 130, 255, 256, 300, 700})
          for (const int num_tokens : {1, 3}) shape.sequences.push_back({num_tokens, position});
        shape.sequences.push_back({100, 0});
        shape.sequences.push_back({120, 200});
        for (const int shares : {1, 2, 3}) ASSERT_NO_FATAL_FAILURE(expect_same_bits(shape, shares));
        const AttentionCase attention(shape);
        const Stream stream;
        rope_append(attention.prompt_heads(), stream.get());
        attention_decode(attention.decodes(3), attention.heads(), stream.get());
        cuda::attention(attention.prompts(), stream.get());
        stream.synchronize("attention");
        check_launch("attention");
        ASSERT_NO_FATAL_FAILURE(expect_reference(attention));
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(EveryCache, CudaAttentionTest,
                         testing::Values(CacheElement::kBf16, CacheElement::kF16,
                                         CacheElement::kInt8, CacheElement::kFp8),
                         [](const auto& instance) {
                           switch (instance.param) {
                             case CacheElement::kF16:
                               return "f16";
                             case CacheElement::kInt8:
                               return "int8";
                             case CacheElement::kFp8:
                               return "fp8";
                             default:
                               return "bf16";
                           }
                         });

}  // namespace
}  // namespace iol::cuda
