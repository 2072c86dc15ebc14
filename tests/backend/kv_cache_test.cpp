// The quantized KV cache against its definition: codes and scales bit for bit, attention against
// double precision over the dequantized codes, with a bound derived from the operands.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "backend/cpu/cpu_kv_cache.h"
#include "backend/cpu/kernels_of.h"
#include "backend/quantize_row.h"
#include "base/cpu.h"
#include "base/random.h"

namespace iol::cpu {
namespace {

constexpr DType kFormats[] = {DType::kI8, DType::kF8E4M3};

WeightFormat row_format(DType dtype) {
  return dtype == DType::kI8 ? WeightFormat::kInt8 : WeightFormat::kFp8;
}

/// Magnitudes up to e^(+-spread).
std::vector<float> random_row(int dim, double spread, RandomStream& random) {
  const double scale = std::exp(spread * (2 * random.uniform() - 1));
  std::vector<float> row;
  for (int d = 0; d < dim; ++d)
    row.push_back(static_cast<float>(scale * (2 * random.uniform() - 1)));
  return row;
}

/// Reads a cache's memory by the layout that CacheView describes.
struct Stored {
  std::vector<std::uint8_t> codes;
  float scale;
};

Stored read_back(const CacheView& cache, std::int64_t block, std::int64_t offset,
                 std::int64_t kv_head, bool is_value) {
  const std::int64_t dim = cache.head_dim;
  const std::byte* part = cache.layer + block * cache.block_bytes + kv_head * cache.head_bytes;
  if (is_value) part += cache.head_bytes / 2;
  Stored stored;
  for (std::int64_t d = 0; d < dim; ++d) {
    const std::int64_t index =
        is_value ? (offset / 4 * dim + d) * 4 + offset % 4
                 : ((offset / 16 * (dim / 4) + d / 4) * 16 + offset % 16) * 4 + d % 4;
    stored.codes.push_back(static_cast<std::uint8_t>(part[index]));
  }
  std::memcpy(&stored.scale, part + cache.block_size * dim + offset * 4, sizeof(float));
  return stored;
}

TEST(KvCache, appended_codes_and_scales_are_those_of_quantize_row) {
  RandomStream random(1);
  for (const DType dtype : kFormats) {
    for (const int dim : {16, 48, 64, 128, 256}) {
      const KvCacheShape shape{2, 3, 32, 2, dim, dtype};
      for (const Isa isa : supported_isas()) {
        const CpuKvCache cache(shape);
        const CacheView view = cache.layer(1);
        for (int trial = 0; trial < 60; ++trial) {
          auto key = random_row(dim, 4, random);
          auto value = random_row(dim, 4, random);
          if (trial == 0) std::fill(key.begin(), key.end(), 0.0F);
          if (trial == 1) std::fill(value.begin(), value.end(), -0.0F);
          if (trial == 2) value[3] = 1e30F;
          if (trial == 3) {  // ties and the smallest steps
            for (int d = 0; d < dim; ++d) key[static_cast<std::size_t>(d)] = 0.5F * (d % 9 - 4);
            key[0] = 448.0F;
            for (int d = 1; d < dim; ++d)
              value[static_cast<std::size_t>(d)] = 0x1p-10F * (d % 25 - 12);
            value[0] = -448.0F;
          }
          AppendTask task;
          task.cache = view;
          task.block = static_cast<std::int64_t>(random.below(3));
          task.offset = static_cast<std::int64_t>(random.below(32));
          task.kv_head = static_cast<std::int64_t>(random.below(2));
          task.key = key.data();
          task.value = value.data();
          kernels_of(isa).append(task);
          QuantizedRow want;
          for (const bool is_value : {false, true}) {
            ASSERT_TRUE(quantize_row(row_format(dtype), 0, is_value ? value : key, want));
            const auto got = read_back(view, task.block, task.offset, task.kv_head, is_value);
            ASSERT_EQ(got.codes, want.codes) << isa_name(isa) << ", D " << dim;
            ASSERT_EQ(got.scale, want.scales[0]) << isa_name(isa) << ", D " << dim;
          }
        }
      }
    }
  }
}

TEST(KvCache, a_block_takes_the_bytes_of_its_codes_and_scales) {
  KvCacheShape shape{3, 5, 32, 2, 48, DType::kI8};
  EXPECT_EQ(shape.block_bytes(), 3U * 2 * 32 * 2 * (48 + 4));
  const CpuKvCache cache(shape);
  EXPECT_EQ(cache.layer(1).layer - cache.layer(0).layer, 5 * 2 * 32 * 2 * (48 + 4));
  shape.dtype = DType::kBF16;
  EXPECT_EQ(shape.block_bytes(), 3U * 2 * 32 * 2 * 48 * 2);
}

struct AttentionCase {
  int head_dim, group, num_tokens, first_position, window, block_size;
};

const AttentionCase kCases[] = {
    {64, 8, 1, 299, 0, 16},   {64, 8, 4, 250, 0, 16},  {16, 1, 1, 0, 0, 16},
    {32, 3, 9, 0, 0, 32},     {48, 1, 32, 500, 0, 16}, {128, 5, 3, 126, 0, 64},
    {256, 2, 1, 400, 77, 16}, {64, 1, 2, 127, 20, 16}, {112, 7, 2, 200, 0, 48},
};

/// One sequence in a cache of scattered blocks, and its attention in double precision.
class Attention {
 public:
  Attention(const AttentionCase& c, DType dtype, Isa isa, float left_behind = 0)
      : c_(c), dtype_(dtype), isa_(isa), cache_({1, kBlocks, c.block_size, 2, c.head_dim, dtype}) {
    RandomStream random(static_cast<std::uint64_t>(c.head_dim + c.first_position));
    const std::vector<float> earlier(static_cast<std::size_t>(c.head_dim), left_behind);
    for (int i = 0; i < kBlocks; ++i) block_table_.push_back(i);
    for (int i = 0; i < kBlocks * c.block_size; ++i) append(i, earlier, earlier);
    block_table_.clear();
    const int num_positions = c.first_position + c.num_tokens;
    for (int i = 0; i * c.block_size < num_positions; ++i) block_table_.push_back(i * 7 % kBlocks);
    for (int position = 0; position < num_positions; ++position) {
      append(position, random_row(c.head_dim, 1, random), random_row(c.head_dim, 1, random));
    }
    for (int i = 0; i < c.num_tokens * c.group * c.head_dim; ++i)
      queries_.push_back(static_cast<float>(2 * random.uniform() - 1));
  }

  void append(int position, const std::vector<float>& key, const std::vector<float>& value) {
    AppendTask task;
    task.cache = cache_.layer(0);
    task.block = block_table_[static_cast<std::size_t>(position / c_.block_size)];
    task.offset = position % c_.block_size;
    task.kv_head = 1;
    task.key = key.data();
    task.value = value.data();
    kernels_of(isa_).append(task);
  }

  /// out [tokens, group, D] of tokens [first, first + count).
  [[nodiscard]] std::vector<float> run(int first, int count) const {
    const int stride = c_.group * c_.head_dim;
    std::vector<float> out(static_cast<std::size_t>(count * stride));
    alignas(64) static std::byte scratch[kAttentionScratchBytes];
    AttentionTask task;
    task.cache = cache_.layer(0);
    task.block_table = block_table_.data();
    task.kv_head = 1;
    task.group = c_.group;
    task.num_tokens = count;
    task.first_position = c_.first_position + first;
    task.window = c_.window;
    task.queries = queries_.data() + first * stride;
    task.query_stride = stride;
    task.scale = scale();
    task.out = out.data();
    task.out_stride = stride;
    task.scratch = scratch;
    kernels_of(isa_).attention(task);
    return out;
  }

  /// The largest error of run(0, all) in units of what rounding explains.
  ///
  /// With u the rounding of queries and weights (2^-8 where they are bf16, else 0) and e = 2^-24: a
  /// score errs by at most s = (u + (D + 3) e) * scale * sum |q_d k_d|, a weight by e^(2 s) - 1
  /// relative to the total, plus the exponential's 3e-7; the sum of n terms by (u + n e) of sum
  /// w |v|.
  [[nodiscard]] double error(const std::vector<float>& out) const {
    double worst = 0;
    for (int token = 0; token < c_.num_tokens; ++token) {
      for (int head = 0; head < c_.group; ++head) {
        const auto row = static_cast<std::size_t>((token * c_.group + head) * c_.head_dim);
        worst = std::max(worst, row_error(token, queries_.data() + row, out.data() + row));
      }
    }
    return worst;
  }

  /// Changes what is stored of one position.
  void corrupt_code(int position) { cache_.layer(0).layer[byte_of(position)] ^= std::byte{0x40}; }
  void corrupt_scale(int position) {
    const CacheView view = cache_.layer(0);
    auto* scale = reinterpret_cast<float*>(value_part(position) + view.block_size * c_.head_dim);
    scale[position % c_.block_size] *= 1.5F;
  }

 private:
  static constexpr int kBlocks = 45;

  [[nodiscard]] float scale() const { return 1.0F / std::sqrt(static_cast<float>(c_.head_dim)); }
  [[nodiscard]] std::byte* value_part(int position) const {
    const CacheView view = cache_.layer(0);
    return view.layer +
           block_table_[static_cast<std::size_t>(position / c_.block_size)] * view.block_bytes +
           view.head_bytes + view.head_bytes / 2;
  }
  [[nodiscard]] std::int64_t byte_of(int position) const {
    return value_part(position) - cache_.layer(0).layer +
           position % c_.block_size / 4 * 4 * c_.head_dim + position % 4;
  }
  [[nodiscard]] std::vector<float> dequantized(int position, bool is_value) const {
    const auto stored =
        read_back(cache_.layer(0), block_table_[static_cast<std::size_t>(position / c_.block_size)],
                  position % c_.block_size, 1, is_value);
    std::vector<float> row(stored.codes.size());
    dequantize_row(row_format(dtype_), 0, {stored.codes, {stored.scale}, {}}, row);
    return row;
  }

  [[nodiscard]] double row_error(int token, const float* query, const float* out) const {
    const int last = c_.first_position + token;
    const int first = c_.window > 0 ? std::max(0, last + 1 - c_.window) : 0;
    const double u = kernels_of(isa_).bf16_activations ? 0x1p-8 : 0;
    constexpr double kEps = 0x1p-24;
    std::vector<double> weights;
    double score_error = 0;
    for (int position = first; position <= last; ++position) {
      const auto key = dequantized(position, false);
      double score = 0;
      double magnitude = 0;
      for (std::size_t d = 0; d < key.size(); ++d) {
        score += double{query[d]} * key[d];
        magnitude += std::abs(double{query[d]} * key[d]);
      }
      weights.push_back(score * scale());
      score_error = std::max(score_error, (u + (c_.head_dim + 3) * kEps) * magnitude * scale());
    }
    const double most = *std::max_element(weights.begin(), weights.end());
    double total = 0;
    for (double& weight : weights) total += (weight = std::exp(weight - most));
    std::vector<double> want(static_cast<std::size_t>(c_.head_dim));
    std::vector<double> magnitude(want.size());
    for (int position = first; position <= last; ++position) {
      const auto value = dequantized(position, true);
      for (std::size_t d = 0; d < want.size(); ++d) {
        const double term = weights[static_cast<std::size_t>(position - first)] / total * value[d];
        want[d] += term;
        magnitude[d] += std::abs(term);
      }
    }
    const double relative =
        std::expm1(2 * score_error) + 3e-7 + u + (static_cast<double>(weights.size()) + 8) * kEps;
    double worst = 0;
    for (std::size_t d = 0; d < want.size(); ++d)
      worst = std::max(worst, std::abs(out[d] - want[d]) / (relative * magnitude[d] + 1e-30));
    return std::isnan(out[0]) ? INFINITY : worst;
  }

  AttentionCase c_;
  DType dtype_;
  Isa isa_;
  CpuKvCache cache_;
  std::vector<BlockId> block_table_;
  std::vector<float> queries_;
};

/// Runs `check` for every case, format and instruction set.
template <class Check>
void for_all(Check check) {
  for (const auto& c : kCases) {
    for (const DType dtype : kFormats) {
      for (const Isa isa : supported_isas()) {
        SCOPED_TRACE(fmt::format("D {}, group {}, {} tokens, {}, {}", c.head_dim, c.group,
                                 c.num_tokens, kv_format_name(dtype), isa_name(isa)));
        check(c, dtype, isa);
      }
    }
  }
}

TEST(KvCache, attention_matches_double_precision_over_the_dequantized_codes) {
  for_all([](const AttentionCase& c, DType dtype, Isa isa) {
    const Attention attention(c, dtype, isa);
    EXPECT_LT(attention.error(attention.run(0, c.num_tokens)), 1);
  });
}

TEST(KvCache, a_corrupted_code_or_scale_is_noticed) {
  const AttentionCase c{32, 2, 1, 5, 0, 16};
  for (const DType dtype : kFormats) {
    for (const Isa isa : supported_isas()) {
      Attention attention(c, dtype, isa);
      for (int position = 0; position < 6; ++position)  // all have the same weight
        attention.append(position, std::vector<float>(32, 0),
                         std::vector<float>(32, 1.0F + static_cast<float>(position)));
      const auto out = attention.run(0, 1);
      attention.corrupt_code(3);
      EXPECT_GT(attention.error(out), 1);
      attention.corrupt_code(3);
      EXPECT_LT(attention.error(out), 1);
      attention.corrupt_scale(3);
      EXPECT_GT(attention.error(out), 1);
    }
  }
}

TEST(KvCache, a_token_alone_gets_what_it_gets_among_others) {
  for_all([](const AttentionCase& c, DType dtype, Isa isa) {
    const Attention attention(c, dtype, isa);
    const auto together = attention.run(0, c.num_tokens);
    const auto stride = static_cast<std::size_t>(c.group * c.head_dim);
    for (int token = 0; token < c.num_tokens; ++token) {
      const auto alone = attention.run(token, 1);
      ASSERT_EQ(
          std::memcmp(alone.data(), together.data() + static_cast<std::size_t>(token) * stride,
                      stride * sizeof(float)),
          0)
          << "token " << token;
    }
  });
}

TEST(KvCache, what_an_earlier_sequence_left_behind_does_not_matter) {
  for_all([](const AttentionCase& c, DType dtype, Isa isa) {
    const Attention clean(c, dtype, isa);
    const Attention used(c, dtype, isa, NAN);
    EXPECT_EQ(clean.run(0, c.num_tokens), used.run(0, c.num_tokens));
  });
}

TEST(KvCache, a_key_or_value_that_is_not_finite_shows) {
  const AttentionCase c{32, 1, 1, 40, 0, 16};
  for (const DType dtype : kFormats) {
    for (const Isa isa : supported_isas()) {
      for (const float bad : {NAN, INFINITY, -INFINITY}) {
        std::vector<float> row(32, 0.5F);
        Attention attention(c, dtype, isa);
        attention.append(17, row, row);
        EXPECT_FALSE(std::isnan(attention.run(0, 1)[0]));
        auto broken = row;
        broken[30] = bad;
        attention.append(17, row, broken);
        EXPECT_TRUE(std::isnan(attention.run(0, 1)[0])) << isa_name(isa) << ", " << bad;
      }
    }
  }
}

}  // namespace
}  // namespace iol::cpu
