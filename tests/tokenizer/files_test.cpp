// Loading from a folder: which file counts, and what is said of one that is missing or broken.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/message_of.h"
#include "tests/temporary_folder.h"
#include "tests/tokenizer/goldens.h"

namespace iol::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

const std::string kGoldens = IOL_SOURCE_DIR "/tests/goldens/tokenizer/";

std::string load_refusal(const std::filesystem::path& folder) {
  return message_of<InputError>([&] { (void)Tokenizer::load(folder); });
}

TEST(TokenizerFiles, AFolderWithoutTokenizerIsNamed) {
  const TemporaryFolder folder;
  EXPECT_THAT(load_refusal(folder.path()),
              AllOf(HasSubstr(folder.path().string()), HasSubstr("neither tokenizer.json nor")));
  EXPECT_THAT(load_refusal(folder.path() / "missing"), HasSubstr("neither tokenizer.json nor"));
}

TEST(TokenizerFiles, TheJsonIsPreferredToTheModel) {
  const TemporaryFolder folder;
  folder.write("tokenizer.json", read_file(kGoldens + "gpt2.json"));
  folder.write("tokenizer.model", "garbage");
  EXPECT_EQ(Tokenizer::load(folder.path())->vocab_size(), 1200);
}

TEST(TokenizerFiles, ABrokenJsonIsNamed) {
  const TemporaryFolder folder;
  folder.write("tokenizer.json", "");
  EXPECT_THAT(load_refusal(folder.path()),
              AllOf(HasSubstr((folder.path() / "tokenizer.json").string()),
                    HasSubstr("not valid JSON"), Not(HasSubstr("\n"))));
}

TEST(TokenizerFiles, AFolderInPlaceOfTheFileIsNamed) {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder.path() / "tokenizer.json");
  EXPECT_THAT(load_refusal(folder.path()), HasSubstr("tokenizer.json' is not a regular file"));
}

TEST(TokenizerFiles, ABrokenModelIsNamed) {
  const std::string model = read_file(kGoldens + "sentencepiece/tokenizer.model");
  const std::string binary("\x00\xff\x12\x80\x08", 5);
  for (const std::string& content :
       {std::string(), std::string("{}"), binary, model.substr(0, model.size() / 2),
        model.substr(0, model.size() - 1), model.substr(1), std::string(10'000, '\xff')}) {
    SCOPED_TRACE(content.size());
    const TemporaryFolder folder;
    folder.write("tokenizer.model", content);
    EXPECT_THAT(load_refusal(folder.path()),
                AllOf(HasSubstr((folder.path() / "tokenizer.model").string()),
                      HasSubstr("not a SentencePiece model"), Not(HasSubstr("\n"))));
  }
}

TEST(TokenizerFiles, TheConfigBesideAModelSaysWhatToAdd) {
  const TemporaryFolder folder;
  folder.write("tokenizer.model", read_file(kGoldens + "sentencepiece/tokenizer.model"));
  folder.write("tokenizer_config.json", R"({"add_bos_token": false, "add_eos_token": true})");
  const auto ids = Tokenizer::load(folder.path())->encode("a");
  EXPECT_NE(ids.front(), 1);
  EXPECT_EQ(ids.back(), 2);
  folder.write("tokenizer_config.json", R"({"add_bos_token": "yes"})");
  EXPECT_THAT(load_refusal(folder.path()), HasSubstr("add_bos_token: expected true or false"));
  folder.write("tokenizer_config.json", "{");
  EXPECT_THAT(load_refusal(folder.path()), HasSubstr("tokenizer_config.json: not valid JSON"));
  folder.write("tokenizer_config.json", "[]");
  EXPECT_THAT(load_refusal(folder.path()), HasSubstr("tokenizer_config.json: expected an object"));
}

}  // namespace
}  // namespace iol::test
