// Which sizes steps of few tokens are padded to: enough for what they hold, and few enough to be
// prepared for. Needs no GPU.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <tuple>
#include <vector>

#include "backend/cuda/step_forms.h"
#include "base/random.h"

namespace iol::cuda {
namespace {

constexpr int kMostTokens = 2048;
constexpr int kMostPerSequence = 17;  // a decode and the longest draft

struct Heads {
  int num_heads;
  int num_kv_heads;
};
constexpr Heads kModels[] = {{6, 2}, {32, 8}, {8, 8}, {32, 1}, {71, 1}};

StepForms forms_of(const Heads& heads) {
  TransformerShape shape;
  shape.num_heads = heads.num_heads;
  shape.num_kv_heads = heads.num_kv_heads;
  shape.head_dim = 64;
  return {kMostTokens, kMostTokens, shape};
}

/// A step of so many tokens of each sequence.
class Step {
 public:
  Step(const std::vector<int>& counts, int first_position) {
    for (const int count : counts) {
      const int first = static_cast<int>(tokens_.size());
      slices_.push_back({first, count, first_position, {}});
      for (int i = 0; i < count; ++i) tokens_.push_back(first + i);
    }
  }
  [[nodiscard]] StepInput input() const { return {tokens_, tokens_, slices_, tokens_, {}}; }

 private:
  std::vector<std::int32_t> tokens_;
  std::vector<SequenceSlice> slices_;
};

Step random_step(RandomStream& random, const StepLimits& limits) {
  const auto below = [&](int count) {
    return static_cast<int>(random.below(static_cast<std::uint64_t>(count)));
  };
  std::vector<int> counts(static_cast<std::size_t>(1 + below(limits.num_sequences)), 1);
  int num_left = limits.num_tokens - static_cast<int>(counts.size());
  const int most_drafts = below(kMostPerSequence);
  for (int& count : counts) {
    const int drafts = std::min(num_left, below(most_drafts + 1));
    count += drafts;
    num_left -= drafts;
  }
  return {counts, below(limits.num_positions - kMostPerSequence)};
}

TEST(StepForms, padded_sizes_hold_the_step) {
  RandomStream random(1);
  for (const Heads& heads : kModels) {
    const StepForms forms = forms_of(heads);
    for (int trial = 0; trial < 2000; ++trial) {
      const Step step = random_step(random, {64, 320, 4000});
      const bool has_decode_kernel = trial % 2 == 0;
      ASSERT_TRUE(forms.has_few_tokens(step.input()));
      const StepSizes exact = forms.sizes_of(step.input(), has_decode_kernel);
      const StepSizes padded = forms.padded_sizes(step.input(), has_decode_kernel);
      EXPECT_GE(padded.num_tokens, exact.num_tokens);
      EXPECT_GE(padded.num_logits, exact.num_logits);
      EXPECT_GE(padded.num_slices, exact.num_slices);
      EXPECT_GE(padded.max_chunks, exact.max_chunks);
      EXPECT_EQ(padded.num_prefill_tiles, 0);
      if (padded.num_decodes > 0) {  // all are
        EXPECT_EQ(exact.num_decodes, exact.num_slices);
        EXPECT_GE(padded.num_decodes, exact.num_decodes);
        EXPECT_LE(padded.num_decodes, padded.num_slices);
        EXPECT_EQ(padded.num_small_tiles, 0);
      } else {
        const StepSizes tiles = forms.sizes_of(step.input(), false);
        EXPECT_GE(padded.num_small_tiles, tiles.num_small_tiles);
        EXPECT_GE(padded.num_rotated_tokens, tiles.num_rotated_tokens);
      }
    }
  }
}

TEST(StepForms, sizes_within_limits_are_all_that_such_steps_have) {
  RandomStream random(2);
  for (const Heads& heads : kModels) {
    const StepForms forms = forms_of(heads);
    for (const StepLimits limits : {StepLimits{1, 17, 256}, {8, 136, 512}, {64, 320, 1024}}) {
      for (const bool has_decode_kernel : {false, true}) {
        const auto all = forms.padded_sizes_within(limits, has_decode_kernel);
        for (int trial = 0; trial < 2000; ++trial) {
          const Step step = random_step(random, limits);
          const StepSizes sizes = forms.padded_sizes(step.input(), has_decode_kernel);
          ASSERT_EQ(std::ranges::count(all, sizes), 1)
              << sizes.num_tokens << " tokens, " << sizes.num_decodes << " decodes, "
              << sizes.num_small_tiles << " tiles, " << sizes.max_chunks << " chunks of "
              << heads.num_heads << " heads";
        }
        for (std::size_t i = 1; i < all.size(); ++i)
          EXPECT_LE(all[i - 1].num_tokens, all[i].num_tokens);
      }
    }
  }
}

/// A form for each way to share out tokens among sequences would be hundreds.
TEST(StepForms, tokens_decide_the_form_where_attention_has_few_blocks) {
  const StepForms forms = forms_of(kModels[0]);
  RandomStream random(3);
  std::set<std::tuple<int, int, int>> seen;
  for (int trial = 0; trial < 5000; ++trial) {
    const Step step = random_step(random, {8, 136, 256});
    const StepSizes sizes = forms.padded_sizes(step.input(), true);
    seen.emplace(sizes.num_tokens, sizes.num_decodes, sizes.num_small_tiles);
  }
  // 14 buckets of up to 160 tokens.
  EXPECT_LE(seen.size(), 14U);
  EXPECT_EQ(forms.padded_sizes_within({8, 136, 256}, true).size(), 14U);
}

}  // namespace
}  // namespace iol::cuda
