// Broken tokenizer files and texts: one line that names the file and the field.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/error.h"
#include "base/random.h"
#include "tests/tokenizer/goldens.h"

namespace iol {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

const std::string kFolder = IOL_SOURCE_DIR "/tests/goldens/tokenizer/";

json valid(const std::string& form = "gpt2") {
  return json::parse(test::read_file(kFolder + form + ".json"));
}

std::string refusal(const std::string& content) {
  try {
    Tokenizer::from_json(content, "here/tokenizer.json");
  } catch (const InputError& error) {
    return error.what();
  }
  return "(nothing was thrown)";
}

void expect_refused(const json& tokenizer, const std::string& part) {
  const std::string content = tokenizer.dump(-1, ' ', false, json::error_handler_t::replace);
  EXPECT_THAT(refusal(content),
              AllOf(StartsWith("here/tokenizer.json: "), HasSubstr(part), Not(HasSubstr("\n"))));
}

TEST(TokenizerBadInput, what_is_not_json_is_refused) {
  for (const std::string content :
       {"", "{", "[]", "3", "null", "\"x\"", "\xff\xfe", "{\"version\": \"1.0\", \"model\": "}) {
    EXPECT_THAT(refusal(content), StartsWith("here/tokenizer.json: ")) << content;
  }
  EXPECT_THAT(refusal(std::string(1000, '\0')), StartsWith("here/tokenizer.json: "));
  EXPECT_THAT(refusal(std::string(1'000'000, '[')), StartsWith("here/tokenizer.json: "));
  const std::string whole = valid().dump();
  for (std::size_t size = 0; size < whole.size(); size += 997)
    EXPECT_THAT(refusal(whole.substr(0, size)), StartsWith("here/tokenizer.json: ")) << size;
}

TEST(TokenizerBadInput, parts_that_are_missing_or_unknown_are_named) {
  json tokenizer = valid();
  tokenizer.erase("model");
  expect_refused(tokenizer, "model");
  for (const char* part : {"normalizer", "pre_tokenizer", "post_processor", "decoder", "model"}) {
    for (const json& value : {json("text"), json(3), json::array(), json::object(),
                              json{{"type", "Unheard"}}, json{{"type", 7}}}) {
      SCOPED_TRACE(std::string(part) + " = " + value.dump());
      tokenizer = valid();
      tokenizer[part] = value;
      expect_refused(tokenizer, part);
    }
  }
}

TEST(TokenizerBadInput, models_other_than_bpe_are_refused_by_name) {
  for (const char* type : {"WordPiece", "Unigram", "WordLevel"}) {
    json tokenizer = valid();
    tokenizer["model"]["type"] = type;
    expect_refused(tokenizer, type);
  }
}

TEST(TokenizerBadInput, a_vocabulary_that_can_not_be_is_refused) {
  for (const json& vocab :
       {json(), json::array(), json{{"a", "1"}}, json{{"a", -1}}, json{{"a", 1.5}},
        json{{"a", 4'000'000'000LL}}, json{{"a", 1}, {"b", 1}}, json{{"a", 1LL << 40}}}) {
    SCOPED_TRACE(vocab.dump());
    json tokenizer = valid();
    tokenizer["model"]["vocab"] = vocab;
    tokenizer["model"]["merges"] = json::array();
    expect_refused(tokenizer, "vocab");
  }
}

TEST(TokenizerBadInput, merges_of_unknown_tokens_are_refused) {
  for (const json& merge : {json("not there"), json("one"), json(7), json{"a"}, json{"a", 3},
                            json{"a", "b", "c"}, json{"zzzz", "yyyy"}}) {
    SCOPED_TRACE(merge.dump());
    json tokenizer = valid();
    tokenizer["model"]["merges"][3] = merge;
    expect_refused(tokenizer, "model.merges");
  }
}

TEST(TokenizerBadInput, a_broken_regular_expression_is_refused) {
  for (const char* pattern : {"(", "[a", "a{2,1}", "(?<n", "\\p{Nonsense}", "*"}) {
    SCOPED_TRACE(pattern);
    json tokenizer = valid("llama3");
    tokenizer["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = pattern;
    expect_refused(tokenizer, "pre_tokenizer");
  }
}

TEST(TokenizerBadInput, added_tokens_that_can_not_be_are_refused) {
  for (const json& tokens :
       {json("x"), json{3}, json{{{"id", 1}}}, json{{{"content", "x"}}},
        json{{{"id", -4}, {"content", "x"}}}, json{{{"id", "1"}, {"content", "x"}}}}) {
    SCOPED_TRACE(tokens.dump());
    json tokenizer = valid();
    tokenizer["added_tokens"] = tokens;
    expect_refused(tokenizer, "added_tokens");
  }
}

TEST(TokenizerBadInput, flipped_bytes_load_or_are_refused) {
  RandomStream random(1);
  for (const std::string form : {"gpt2", "llama2", "mixed"}) {
    const std::string whole = test::read_file(kFolder + form + ".json");
    for (int i = 0; i < 150; ++i) {
      std::string flipped = whole;
      for (int flips = 0; flips < 3; ++flips)
        flipped[random.below(flipped.size())] ^= static_cast<char>(1U << random.below(8));
      try {
        const auto tokenizer = Tokenizer::from_json(flipped, "here/tokenizer.json");
        EXPECT_FALSE(tokenizer->encode("Some text, 12").empty());
      } catch (const InputError& error) {
        EXPECT_THAT(error.what(), Not(HasSubstr("\n")));
      }
    }
  }
}

TEST(TokenizerBadInput, folders_without_a_usable_file_are_refused) {
  const auto folder = std::filesystem::path(testing::TempDir()) / "tokenizer_bad_input";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  const auto message = [&] {
    try {
      Tokenizer::load(folder);
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string("(nothing was thrown)");
  };
  EXPECT_THAT(message(), HasSubstr(folder.string()));
  const std::string model = test::read_file(kFolder + "sentencepiece/tokenizer.model");
  for (const std::string& content :
       {std::string(), std::string("not a model"), model.substr(0, model.size() / 2)}) {
    std::ofstream(folder / "tokenizer.model", std::ios::binary) << content;
    EXPECT_THAT(message(), AllOf(HasSubstr("tokenizer.model"), Not(HasSubstr("\n"))));
  }
  std::filesystem::create_directories(folder / "tokenizer.json");
  EXPECT_THAT(message(), HasSubstr("tokenizer.json"));
  std::filesystem::remove_all(folder);
}

TEST(TokenizerBadInput, invalid_utf8_is_refused_with_its_place) {
  const std::string texts[] = {"\xff",           "ab\x80",           "\xc0\xaf",
                               "\xed\xa0\x80",   "\xf4\x90\x80\x80", "\xe2\x82",
                               "ok \xf0\x9f\x98"};
  const std::size_t places[] = {0, 2, 0, 0, 0, 0, 3};
  for (const auto& form : test::kTokenizerForms) {
    const auto loaded = test::load_golden(form);
    for (std::size_t i = 0; i < std::size(texts); ++i) {
      try {
        static_cast<void>(loaded.tokenizer->encode(texts[i]));
        ADD_FAILURE() << form << ", text " << i;
      } catch (const InputError& error) {
        EXPECT_THAT(error.what(), HasSubstr("at byte " + std::to_string(places[i])));
      }
    }
  }
}

}  // namespace
}  // namespace iol
