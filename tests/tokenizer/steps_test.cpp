// Single normalizers and pre-tokenizers against the `tokenizers` package, over every character that
// there is and over random text: tests/goldens/make_tokenizer_step_goldens.py wrote the results.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/tokenizer/goldens.h"
#include "tokenizer/json_node.h"
#include "tokenizer/normalizer.h"
#include "tokenizer/pre_tokenizer.h"
#include "tokenizer/utf8.h"

namespace iol::test {
namespace {

using nlohmann::json;

std::string fnv1a(std::string_view bytes) {
  std::uint64_t state = 0xcbf29ce484222325ULL;
  for (const char byte : bytes) {
    state = (state ^ static_cast<unsigned char>(byte)) * 0x100000001b3ULL;
  }
  return fmt::format("{:016x}", state);
}

/// Every code point but the surrogates, with `separator` between them.
std::string all_characters(std::string_view separator) {
  std::string text;
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xd800 && c < 0xe000) continue;
    if (c > 0) text += separator;
    append_utf8(c, text);
  }
  return text;
}

/// The same text as in the script.
std::string random_text(const json& golden) {
  const auto ranges = golden.at("random_ranges").get<std::vector<std::pair<char32_t, char32_t>>>();
  std::uint32_t state = 1;
  const auto draw = [&](std::size_t limit) {
    state = state * 1664525 + 1013904223;
    return static_cast<std::uint32_t>((state >> 8) % limit);
  };
  std::string text;
  for (int i = golden.at("random_characters"); i > 0; --i) {
    const auto [first, end] = ranges[draw(ranges.size())];
    append_utf8(first + draw(end - first), text);
  }
  return text;
}

/// A declaration in the form in which the parsers of parts take it.
class ParsedPart {
 public:
  explicit ParsedPart(const json& declaration) : text_(declaration.dump()) {}
  JsonNode node() { return JsonNode(parser_.parse(text_).value(), "test", "part"); }

 private:
  std::string text_;
  simdjson::dom::parser parser_;
};

std::vector<std::string> pieces(const json& declaration, std::string_view text) {
  const PreTokenization pre_tokenization(ParsedPart(declaration).node());
  std::vector<std::string> result;
  pre_tokenization.split({text, true}, [&](Piece piece) { result.emplace_back(piece.text); });
  return result;
}

std::string hash_of_pieces(const json& declaration, std::string_view text) {
  std::string joined;
  for (const auto& piece : pieces(declaration, text)) joined += piece + '\xff';
  return fnv1a(joined);
}

std::string normalized(const json& declaration, std::string text) {
  parse_normalizer(ParsedPart(declaration).node())->normalize(text);
  return text;
}

class TokenizerSteps : public ::testing::Test {
 protected:
  const json golden_ = json::parse(read_file(IOL_SOURCE_DIR "/tests/goldens/tokenizer/steps.json"));
};

TEST_F(TokenizerSteps, EveryCharacterIsNormalizedAsInTheReference) {
  const std::string text = all_characters("\n");
  for (const auto& golden : golden_.at("normalizers")) {
    EXPECT_EQ(fnv1a(normalized(golden.at("normalizer"), text)), golden.at("lines")) << golden;
  }
}

TEST_F(TokenizerSteps, RandomTextIsNormalizedAsInTheReference) {
  const std::string text = random_text(golden_);
  for (const auto& golden : golden_.at("normalizers")) {
    EXPECT_EQ(fnv1a(normalized(golden.at("normalizer"), text)), golden.at("random")) << golden;
  }
}

TEST_F(TokenizerSteps, EveryCharacterIsSplitAsInTheReference) {
  const std::string text = all_characters("");
  for (const auto& golden : golden_.at("pre_tokenizers")) {
    EXPECT_EQ(hash_of_pieces(golden.at("pre_tokenizer"), text), golden.at("characters")) << golden;
  }
}

TEST_F(TokenizerSteps, RandomTextIsSplitAsInTheReference) {
  const std::string text = random_text(golden_);
  for (const auto& golden : golden_.at("pre_tokenizers")) {
    EXPECT_EQ(hash_of_pieces(golden.at("pre_tokenizer"), text), golden.at("random")) << golden;
  }
}

TEST_F(TokenizerSteps, ExamplesAreSplitAsInTheReference) {
  for (const auto& golden : golden_.at("examples")) {
    SCOPED_TRACE(golden.dump());
    EXPECT_EQ(pieces(golden.at("pre_tokenizer"), golden.at("text").get<std::string>()),
              golden.at("pieces").get<std::vector<std::string>>());
  }
}

}  // namespace
}  // namespace iol::test
