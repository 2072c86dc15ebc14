#include "speculative/ngram_index.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "speculative/ngram_drafter.h"

namespace iol {
namespace {

using Tokens = std::vector<std::int32_t>;

/// The same by looking everywhere.
std::optional<std::size_t> find_by_scan(const Tokens& text) {
  for (const int length : NgramIndex::kLengths) {
    const auto count = static_cast<std::size_t>(length);
    if (text.size() <= count) continue;
    for (std::size_t end = text.size() - 1; end >= count; --end) {
      if (std::equal(text.end() - static_cast<std::ptrdiff_t>(count), text.end(),
                     text.begin() + static_cast<std::ptrdiff_t>(end - count))) {
        return end;
      }
    }
  }
  return std::nullopt;
}

TEST(NgramIndex, finds_the_latest_of_the_longest_occurrences) {
  int num_found = 0;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    RandomStream random(seed);
    const auto num_distinct = 2 + random.below(30);
    const auto copies = random.below(2) == 0;
    NgramIndex index(random.below(3) == 0 ? 1 : 300);  // the small one must grow
    Tokens text;
    for (int i = 0; i < 300; ++i) {
      const auto copied = copies && text.size() > 40 && random.below(10) != 0;
      text.push_back(copied ? text[text.size() - 37]
                            : static_cast<std::int32_t>(random.below(num_distinct)));
      if (random.below(3) != 0) continue;  // several tokens at a time
      index.catch_up(text);
      const auto found = index.find(text);
      ASSERT_EQ(found, find_by_scan(text)) << "seed " << seed << " at " << text.size();
      if (found) ++num_found;
    }
  }
  EXPECT_GT(num_found, 5000);
}

TEST(NgramIndex, finds_nothing_in_a_text_without_repetition) {
  NgramIndex index(100);
  Tokens text(1000);
  for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<std::int32_t>(i);
  index.catch_up(text);
  EXPECT_EQ(index.find(text), std::nullopt);
  EXPECT_EQ(NgramIndex(1).find({}), std::nullopt);
}

Tokens propose(NgramDrafter& drafter, const Sequence& sequence, int max_tokens) {
  Draft draft;
  draft.sequence = &sequence;
  draft.max_tokens = max_tokens;
  Draft* const asked[] = {&draft};
  drafter.propose(asked);
  EXPECT_TRUE(draft.distributions.empty());
  return draft.tokens;
}

TEST(NgramDrafter, guesses_what_followed_and_goes_on_with_a_loop) {
  NgramDrafter drafter;
  Sequence sequence;
  sequence.tokens = {1, 2, 3, 9, 8, 7, 6, 1, 2, 3};
  sequence.num_prompt_tokens = 5;
  EXPECT_EQ(propose(drafter, sequence, 3), (Tokens{9, 8, 7}));
  // The occurrence runs into the end of the text.
  EXPECT_EQ(propose(drafter, sequence, 12), (Tokens{9, 8, 7, 6, 1, 2, 3, 9, 8, 7, 6, 1}));
  sequence.tokens.push_back(5);
  EXPECT_EQ(propose(drafter, sequence, 4), Tokens{});
  sequence.tokens = {4, 4, 4, 4};
  sequence.id = 2;
  EXPECT_EQ(propose(drafter, sequence, 4), (Tokens{4, 4, 4, 4}));
}

TEST(NgramDrafter, does_not_mix_requests) {
  NgramDrafter drafter;
  Sequence one;
  one.id = 1;
  one.tokens = {1, 2, 3, 9, 1, 2, 3};
  Sequence two;
  two.id = 2;
  two.tokens = {7, 7, 5, 1, 2, 3};
  EXPECT_EQ(propose(drafter, one, 1), Tokens{9});
  EXPECT_EQ(propose(drafter, two, 1), Tokens{});
  drafter.forget(1);
  one.tokens = {1, 2, 3};  // another request of the same number
  EXPECT_EQ(propose(drafter, one, 1), Tokens{});
}

}  // namespace
}  // namespace iol
