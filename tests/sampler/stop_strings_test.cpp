#include "sampler/stop_strings.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace iol {
namespace {

/// The text before the stop string that is completed first, found on the whole text: at every end,
/// from the first, the longest stop string that ends there and is allowed to.
std::string naive_cut(const std::string& text, const std::vector<std::string>& stops,
                      std::size_t first_end) {
  for (std::size_t end = std::max<std::size_t>(first_end, 1); end <= text.size(); ++end) {
    std::size_t longest = 0;
    for (const std::string& stop : stops) {
      if (std::string_view(text).substr(0, end).ends_with(stop)) {
        longest = std::max(longest, stop.size());
      }
    }
    if (longest > 0) return text.substr(0, end - longest);
  }
  return text;
}

/// Random characters of one to four bytes.
std::string random_text(RandomStream& random, std::size_t num_characters, std::uint64_t alphabet) {
  static const std::vector<std::string> kCharacters = {"a", "b", "é", "€", "😀", "è", "c"};
  std::string text;
  for (std::size_t i = 0; i < num_characters; ++i) text += kCharacters[random.below(alphabet)];
  return text;
}

std::size_t next_character(std::string_view text, std::size_t position) {
  do {
    ++position;
  } while (position < text.size() && (static_cast<unsigned char>(text[position]) & 0xC0U) == 0x80U);
  return position;
}

bool begins_at_character(std::string_view text) {
  return text.empty() || (static_cast<unsigned char>(text.front()) & 0xC0U) != 0x80U;
}

TEST(StopStrings, agrees_with_a_search_on_the_whole_text_however_it_is_cut) {
  for (std::uint64_t seed = 0; seed < 40000; ++seed) {
    RandomStream random(seed);
    const auto alphabet = 1 + random.below(7);
    const std::string text = random_text(random, random.below(30), alphabet);
    std::vector<std::string> stops(random.below(4));
    for (auto& stop : stops) stop = random_text(random, 1 + random.below(5), alphabet);
    const auto gate_characters = random.below(3) == 0 ? random.below(10) : 0;

    StopStrings matcher(stops);
    std::string shown;
    std::size_t gate = 0;  // bytes that came before stopping was allowed
    std::size_t num_pushed = 0;
    for (std::size_t begin = 0; begin < text.size();) {
      std::size_t end = begin;
      const auto count = random.below(4);
      for (std::uint64_t i = 0; i < count && end < text.size(); ++i)
        end = next_character(text, end);
      const bool may_stop = num_pushed >= gate_characters;
      if (!may_stop) gate = end;
      const std::string piece = matcher.push(text.substr(begin, end - begin), may_stop);
      ASSERT_TRUE(begins_at_character(piece));
      shown += piece;
      ASSERT_TRUE(text.starts_with(shown));
      begin = end;
      ++num_pushed;
    }
    shown += matcher.finish();
    const std::string expected = naive_cut(text, stops, gate + 1);
    ASSERT_EQ(shown, expected) << "seed " << seed;
    bool expects_stop = false;
    for (const auto& stop : stops) {
      for (auto at = text.find(stop); at != std::string::npos; at = text.find(stop, at + 1)) {
        expects_stop = expects_stop || at + stop.size() > gate;
      }
    }
    ASSERT_EQ(matcher.stopped(), expects_stop);
  }
}

TEST(StopStrings, holds_back_only_what_may_begin_a_stop_string) {
  StopStrings matcher({"END", "###"});
  EXPECT_EQ(matcher.push("text E"), "text ");
  EXPECT_EQ(matcher.push("N"), "");
  EXPECT_EQ(matcher.push("T "), "ENT ");
  EXPECT_EQ(matcher.push("##"), "");
  EXPECT_EQ(matcher.push("# rest"), "");
  EXPECT_TRUE(matcher.stopped());
  EXPECT_EQ(matcher.push("more"), "");
  EXPECT_EQ(matcher.finish(), "");
}

TEST(StopStrings, releases_the_rest_at_the_end) {
  StopStrings matcher({"END"});
  EXPECT_EQ(matcher.push("an EN"), "an ");
  EXPECT_EQ(matcher.finish(), "EN");
  EXPECT_FALSE(matcher.stopped());
}

TEST(StopStrings, without_stops_everything_passes) {
  StopStrings matcher({});
  EXPECT_EQ(matcher.push("anything"), "anything");
  EXPECT_EQ(matcher.finish(), "");
}

}  // namespace
}  // namespace iol
