// A tokenizer.json that can't be meant is refused with one line: the file, the field, what is
// wrong.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/tokenizer/goldens.h"

namespace iol::test {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

std::string refusal(std::string_view text) {
  try {
    (void)Tokenizer::from_json(text, "dir/tokenizer.json");
  } catch (const InputError& error) {
    return error.what();
  }
  return "(nothing was thrown)";
}

void expect_refused(std::string_view text, const std::string& expected) {
  EXPECT_THAT(refusal(text),
              AllOf(StartsWith("dir/tokenizer.json: "), HasSubstr(expected), Not(HasSubstr("\n"))));
}

/// A file that is fine: "ab" is one token, "c" an added one.
json valid() {
  return {{"version", "1.0"},
          {"added_tokens",
           {{{"id", 3},
             {"content", "<c>"},
             {"single_word", false},
             {"lstrip", false},
             {"rstrip", false},
             {"normalized", false},
             {"special", true}}}},
          {"normalizer", {{"type", "NFC"}}},
          {"pre_tokenizer", {{"type", "Whitespace"}}},
          {"post_processor", nullptr},
          {"decoder", {{"type", "Fuse"}}},
          {"model",
           {{"type", "BPE"},
            {"vocab", {{"a", 0}, {"b", 1}, {"ab", 2}}},
            {"merges", json::array({"a b"})}}}};
}

/// The valid file with the value at a JSON pointer replaced.
struct Change {
  std::string pointer;
  json value;
  std::string expected;  // what the message says
};

void expect_all_refused(const std::vector<Change>& changes) {
  for (const auto& change : changes) {
    SCOPED_TRACE(change.pointer + " = " + change.value.dump().substr(0, 200));
    json document = valid();
    document[json::json_pointer(change.pointer)] = change.value;
    expect_refused(document.dump(), change.expected);
  }
}

/// `depth` parts of the type Sequence, one in the other.
json nested(const char* list, const json& innermost, int depth) {
  json part = innermost;
  for (int i = 0; i < depth; ++i) {
    part = {{"type", "Sequence"}, {list, json::array({std::move(part)})}};
  }
  return part;
}

json regex_split(const std::string& pattern) {
  return {{"type", "Split"},
          {"pattern", {{"Regex", pattern}}},
          {"behavior", "Isolated"},
          {"invert", false}};
}

TEST(TokenizerJsonFields, TheValidFileIsAccepted) {
  const auto tokenizer = Tokenizer::from_json(valid().dump(), "tokenizer.json");
  EXPECT_EQ(tokenizer->encode("ab<c>a"), (std::vector<std::int32_t>{2, 3, 0}));
}

TEST(TokenizerJsonFields, FieldsOfTheWrongTypeAreNamed) {
  expect_all_refused({
      {"/version", 1, "version: expected a string"},
      {"/version", "2.0", "version: the version '2.0' is not supported"},
      {"/added_tokens", 3, "added_tokens: expected an array"},
      {"/added_tokens/0", "x", "added_tokens[0]: expected an object"},
      {"/added_tokens/0/id", "3", "added_tokens[0].id: expected an integer"},
      {"/added_tokens/0/content", 3, "added_tokens[0].content: expected a string"},
      {"/added_tokens/0/special", 1, "added_tokens[0].special: expected true or false"},
      {"/added_tokens/0/lstrip", nullptr, "added_tokens[0]: the field 'lstrip' is missing"},
      {"/normalizer", "NFC", "normalizer: expected an object"},
      {"/normalizer", json::object(), "normalizer: the field 'type' is missing"},
      {"/pre_tokenizer", json::array(), "pre_tokenizer: expected an object"},
      {"/post_processor", true, "post_processor: expected an object"},
      {"/decoder", 0, "decoder: expected an object"},
      {"/model", nullptr, "the field 'model' is missing"},
      {"/model", "BPE", "model: expected an object"},
      {"/model/vocab", json::array(), "model.vocab: expected an object"},
      {"/model/vocab", json::object(), "model.vocab: the vocabulary is empty"},
      {"/model/merges", "a b", "model.merges: expected an array"},
      {"/model/dropout", 0.1, "model.dropout: dropout makes encoding random"},
      {"/model/fuse_unk", "yes", "model.fuse_unk: expected true or false"},
      {"/model/unk_token", 0, "model.unk_token: expected a string"},
      {"/model/unk_token", "<unk>", "model.unk_token: '<unk>' is not in the vocabulary"},
      {"/extra", 1, "the field 'extra' is not supported"},
      {"/model/extra", 1, "model: the field 'extra' is not supported"},
  });
}

TEST(TokenizerJsonFields, UnknownTypesAreNamed) {
  expect_all_refused({
      {"/model/type", "Unigram", "model.type: the model type 'Unigram' is not supported"},
      {"/normalizer/type", "Bert\n", "normalizer: the type 'Bert\\x0a' is not supported"},
      {"/pre_tokenizer/type", "Punctuation", "pre_tokenizer: the type 'Punctuation' is not"},
      {"/post_processor", {{"type", "Roberta"}}, "post_processor: the type 'Roberta' is not"},
      {"/decoder/type", "CTC", "decoder: the type 'CTC' is not supported (supported: ByteLevel"},
      {"/decoder/extra", 1, "decoder: the field 'extra' is not supported"},
  });
}

TEST(TokenizerJsonFields, AbsurdIdsAreRefused) {
  for (const json& id : {json(-1), json(1LL << 40), json(UINT64_MAX), json(1.5), json("1"),
                         json(nullptr), json(INT64_MIN), json(1 << 22)}) {
    expect_all_refused({{"/model/vocab/b", id, "model.vocab: the id of 'b' is not an integer"}});
    if (!id.is_null()) {
      expect_all_refused({{"/added_tokens/0/id", id, "added_tokens[0].id: expected an integer"}});
    }
  }
}

TEST(TokenizerJsonFields, ContradictionsInTheVocabularyAreRefused) {
  expect_all_refused({
      {"/model/vocab/b", 0, "belongs to another token too"},
      {"/added_tokens/0/id", 1, "'<c>' with the id 1 contradicts the model's vocabulary"},
      {"/added_tokens/0/content", "a", "'a' with the id 3 contradicts the model's vocabulary"},
      {"/added_tokens/0/content", "", "the content has 0 bytes"},
      {"/added_tokens/0/content", std::string(5000, 'x'), "the content has 5000 bytes"},
  });
  json twice = valid();
  twice["added_tokens"].push_back(twice["added_tokens"][0]);
  expect_refused(twice.dump(), "added_tokens[1]: '<c>' or its id 3 is there twice");
  twice["added_tokens"][1]["content"] = "<d>";
  expect_refused(twice.dump(), "added_tokens[1]: '<d>' or its id 3 is there twice");
  std::string text = valid().dump();
  text.replace(text.find(R"("b":1)"), 5, R"("a":1)");
  expect_refused(text, "model.vocab: the token 'a' is there twice");
}

TEST(TokenizerJsonFields, MergesOfWhatIsNoTokenAreRefused) {
  expect_all_refused({
      {"/model/merges/0", "a x", "merges: entry 0 needs the token 'x', which is not in"},
      {"/model/merges/0", "x a", "merges: entry 0 needs the token 'x', which is not in"},
      {"/model/merges/0", "b a", "merges: entry 0 needs the token 'ba', which is not in"},
      {"/model/merges/0", "ab", "merges: entry 0 is not a pair of tokens"},
      {"/model/merges/0", "a b c", "merges: entry 0 is not a pair of tokens"},
      {"/model/merges/0", " b", "merges: entry 0 is not a pair of tokens"},
      {"/model/merges/0", "", "merges: entry 0 is not a pair of tokens"},
      {"/model/merges/0", 7, "merges: entry 0 is not a pair of tokens"},
      {"/model/merges/0", {"a", "b", "c"}, "merges: entry 0 is not a pair of tokens"},
      {"/model/merges/0", {"a", 1}, "merges: entry 0 is not a pair of tokens"},
  });
}

TEST(TokenizerJsonFields, PatternsThatMeanNothingCertainAreRefused) {
  for (const char* pattern : {"(",
                              ")",
                              "[a",
                              "a**?+(",
                              "*a",
                              "\\",
                              "[z-a]",
                              "\\p{Nonsense}",
                              "(?<name>a)\\k<name>",
                              "\\1",
                              "(?R)",
                              "[[:alpha:]]",
                              "a{1,2}+",
                              "\\b",
                              "\\X",
                              "\\C",
                              "(*UTF)",
                              "(?#x)",
                              "(?i:[sdmt])",
                              "a{99999}"}) {
    SCOPED_TRACE(pattern);
    expect_all_refused({{"/pre_tokenizer", regex_split(pattern), "pre_tokenizer.pattern.Regex: "}});
  }
  expect_all_refused({
      {"/pre_tokenizer",
       {{"type", "Split"},
        {"pattern", {{"String", ""}}},
        {"behavior", "Isolated"},
        {"invert", false}},
       "the pattern is empty"},
      {"/pre_tokenizer",
       {{"type", "Split"},
        {"pattern", {{"String", "a"}}},
        {"behavior", "Apart"},
        {"invert", false}},
       "unknown behavior 'Apart'"},
  });
}

TEST(TokenizerJsonFields, PartsNestedAbsurdlyDeepAreRefused) {
  expect_all_refused({
      {"/normalizer", nested("normalizers", {{"type", "NFC"}}, 100), "nested too deep"},
      {"/pre_tokenizer", nested("pretokenizers", {{"type", "Whitespace"}}, 100), "nested too deep"},
      {"/post_processor", nested("processors", {{"type", "ByteLevel"}}, 100), "nested too deep"},
      {"/decoder", nested("decoders", {{"type", "Fuse"}}, 100), "nested too deep"},
  });
  const std::string deep = "{\"model\": " + std::string(5000, '[') + std::string(5000, ']') + "}";
  expect_refused(deep, "not valid JSON");
}

TEST(TokenizerJsonFields, TemplatesMayNameOnlyTheirOwnTokens) {
  json post_processor = {
      {"type", "TemplateProcessing"},
      {"single", {{{"SpecialToken", {{"id", "<c>"}, {"type_id", 0}}}}}},
      {"pair", json::array()},
      {"special_tokens", {{"<c>", {{"id", "<c>"}, {"ids", {3}}, {"tokens", {"<c>"}}}}}}};
  post_processor["special_tokens"]["<c>"]["ids"] = {4};
  expect_all_refused({{"/post_processor", post_processor, "expected an integer from 0 to 3"}});
  post_processor["special_tokens"] = json::object();
  expect_all_refused({{"/post_processor", post_processor, "the field '<c>' is missing"}});
}

}  // namespace
}  // namespace iol::test
