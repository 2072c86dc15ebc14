// Text that arrives id by id is the text of all ids, and never half a character.
#include "tokenizer/stream_decoder.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "tests/tokenizer/goldens.h"

namespace iol {
namespace {

using Ids = std::vector<std::int32_t>;

/// Written for this test, after RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF.
bool is_valid_utf8(const std::string& text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const std::size_t length = lead < 0x80                    ? 1
                               : lead >= 0xc2 && lead <= 0xdf ? 2
                               : lead >= 0xe0 && lead <= 0xef ? 3
                               : lead >= 0xf0 && lead <= 0xf4 ? 4
                                                              : 0;
    if (length == 0 || i + length > text.size()) return false;
    for (std::size_t k = 1; k < length; ++k)
      if ((static_cast<unsigned char>(text[i + k]) & 0xc0) != 0x80) return false;
    const auto second = length > 1 ? static_cast<unsigned char>(text[i + 1]) : 0;
    if ((lead == 0xe0 && second < 0xa0) || (lead == 0xed && second > 0x9f) ||
        (lead == 0xf0 && second < 0x90) || (lead == 0xf4 && second > 0x8f))
      return false;
    i += length;
  }
  return true;
}

class StreamDecoderForm : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { loaded_ = test::load_golden(GetParam()); }

  void expect_streams(const Ids& ids) const {
    for (const bool skip : {true, false}) {
      StreamDecoder decoder(*loaded_.tokenizer, skip);
      for (int round = 0; round < 2; ++round) {  // the second time it is as new
        std::string streamed;
        const auto add = [&](const std::string& piece) {
          EXPECT_TRUE(is_valid_utf8(piece)) << testing::PrintToString(ids);
          streamed += piece;
        };
        for (const auto id : ids) add(decoder.push(id));
        add(decoder.finish());
        ASSERT_EQ(streamed, loaded_.tokenizer->decode(ids, skip)) << testing::PrintToString(ids);
      }
    }
  }

  test::TokenizerGolden loaded_;
};

TEST_P(StreamDecoderForm, gives_the_text_of_all_ids_for_every_golden) {
  for (const auto& entry : loaded_.golden["cases"]) expect_streams(entry["ids"].get<Ids>());
  for (const auto& entry : loaded_.golden["decodings"]) expect_streams(entry["ids"].get<Ids>());
}

TEST_P(StreamDecoderForm, gives_the_text_of_all_ids_for_random_ids) {
  RandomStream random(1, std::hash<std::string>{}(GetParam()));
  const auto vocab_size = static_cast<std::uint64_t>(loaded_.tokenizer->vocab_size());
  for (int i = 0; i < 1000; ++i) {
    Ids ids;
    const std::uint64_t base = random.below(vocab_size);
    for (auto left = 1 + random.below(20); left > 0; --left) {
      // Neighbours are often bytes or pieces of one script, which join into characters.
      const std::uint64_t near = std::min(vocab_size - 1, base + random.below(64));
      const std::uint64_t low = random.below(std::min<std::uint64_t>(vocab_size, 260));
      const std::uint64_t choices[] = {near, low, random.below(vocab_size)};
      ids.push_back(static_cast<std::int32_t>(choices[random.below(3)]));
    }
    expect_streams(ids);
  }
}

TEST_P(StreamDecoderForm, ids_without_a_token_give_no_text) {
  const int vocab_size = loaded_.tokenizer->vocab_size();
  expect_streams({vocab_size, vocab_size + 1000, -1, 300, INT32_MAX, 301, INT32_MIN});
}

INSTANTIATE_TEST_SUITE_P(Tokenizers, StreamDecoderForm, testing::ValuesIn(test::kTokenizerForms),
                         [](const auto& info) { return info.param; });

TEST(StreamDecoder, holds_back_no_more_than_the_character_that_is_not_whole) {
  const auto golden = test::load_golden("gpt2");
  const auto ids = golden.tokenizer->encode("\U00020021");
  ASSERT_GT(ids.size(), 1);  // bytes, not one token
  StreamDecoder decoder(*golden.tokenizer);
  const auto word = golden.tokenizer->encode(" the");
  EXPECT_EQ(decoder.push(word[0]), golden.tokenizer->decode(std::vector{word[0]}));
  for (std::size_t i = 0; i + 1 < ids.size(); ++i) EXPECT_EQ(decoder.push(ids[i]), "");
  EXPECT_EQ(decoder.push(ids.back()), "\U00020021");
  EXPECT_EQ(decoder.finish(), "");
}

}  // namespace
}  // namespace iol
