// Ids and text equal to those of the `tokenizers` and `sentencepiece` packages.
#include <gtest/gtest.h>

#include "tests/tokenizer/goldens.h"

namespace iol {
namespace {

using Ids = std::vector<std::int32_t>;
using nlohmann::json;

class TokenizerForm : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { loaded_ = test::load_golden(GetParam()); }

  void expect_decoded(const Ids& ids, const json& entry) const {
    const auto text = entry.contains("decoded") ? entry["decoded"].get<std::string>()
                                                : entry["text"].get<std::string>();
    EXPECT_EQ(loaded_.tokenizer->decode(ids), text) << entry;
    if (GetParam() == "sentencepiece") return;  // the library can't show control tokens, we can
    EXPECT_EQ(loaded_.tokenizer->decode(ids, /*skip_special_tokens=*/false),
              entry.value("decoded_all", text))
        << entry;
  }

  test::TokenizerGolden loaded_;
};

std::string fnv1a(const Ids& ids) {
  std::uint64_t state = 0xcbf29ce484222325ULL;
  for (const auto id : ids)
    for (int shift = 0; shift < 32; shift += 8)
      state = (state ^ (static_cast<std::uint32_t>(id) >> shift & 0xff)) * 0x100000001b3ULL;
  char hex[17];
  std::snprintf(hex, sizeof(hex), "%016llx", static_cast<unsigned long long>(state));
  return hex;
}

TEST_P(TokenizerForm, gives_the_ids_of_the_reference) {
  ASSERT_GT(loaded_.golden["cases"].size(), 100);
  for (const auto& entry : loaded_.golden["cases"]) {
    EXPECT_EQ(loaded_.tokenizer->encode(entry["text"].get<std::string>()), entry["ids"].get<Ids>())
        << entry["text"];
  }
}

TEST_P(TokenizerForm, adds_special_tokens_only_when_asked) {
  const auto& plain = loaded_.golden["plain"];
  EXPECT_EQ(loaded_.tokenizer->encode(plain["text"].get<std::string>(), false),
            plain["ids"].get<Ids>());
}

TEST_P(TokenizerForm, gives_the_ids_of_the_reference_on_the_held_out_text) {
  const auto ids = loaded_.tokenizer->encode(test::read_file(IOL_SOURCE_DIR "/models/heldout.txt"));
  EXPECT_EQ(ids.size(), loaded_.golden["heldout_num_ids"]);
  EXPECT_EQ(fnv1a(ids), loaded_.golden["heldout_fnv1a"]);
}

TEST_P(TokenizerForm, gives_the_text_of_the_reference) {
  for (const auto& entry : loaded_.golden["cases"]) expect_decoded(entry["ids"].get<Ids>(), entry);
  for (const auto& entry : loaded_.golden["decodings"])
    expect_decoded(entry["ids"].get<Ids>(), entry);
}

TEST_P(TokenizerForm, knows_every_token_by_name) {
  for (int id = 0; id < loaded_.tokenizer->vocab_size(); ++id) {
    std::string token;
    try {
      token = loaded_.tokenizer->token(id);
    } catch (const std::exception&) {
      continue;  // an unused id
    }
    EXPECT_EQ(loaded_.tokenizer->token_id(token), id) << token;
  }
}

TEST_P(TokenizerForm, a_word_of_a_megabyte_encodes_and_comes_back) {
  // Quadratic merging would take hours.
  std::string word;
  for (int i = 0; word.size() < (1U << 20); ++i)
    word += static_cast<char>('a' + (i % 23) * (i % 29) % 26);
  const auto ids = loaded_.tokenizer->encode(word, false);
  EXPECT_LT(ids.size(), word.size());
  if (GetParam() == "mixed") return;  // its normalizer and decoder change the text
  std::string text = loaded_.tokenizer->decode(ids);
  std::erase(text, ' ');  // without a decoder, tokens stand apart
  EXPECT_EQ(text, word);
}

INSTANTIATE_TEST_SUITE_P(Tokenizers, TokenizerForm, testing::ValuesIn(test::kTokenizerForms),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace iol
