// Drafts that can't draft for the model are refused in one line that says why.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "tests/engine/speculation_setup.h"

namespace iol::test {
namespace {

using ::testing::HasSubstr;

std::string refusal(const EngineConfig& config) {
  try {
    Engine::create(config);
  } catch (const Error& error) {
    return error.what();
  }
  return "not refused";
}

TEST(Speculation, refuses_drafts_that_cannot_draft_for_the_model) {
  const DraftFolder shorter(R"({"max_position_embeddings": 256})");
  EXPECT_THAT(refusal(with_draft(shorter.path(), 3)),
              HasSubstr("was made for 256 positions, and sequences may have 512"));
  const DraftFolder vocabulary(R"({"vocab_size": 8000})");
  EXPECT_THAT(refusal(with_draft(vocabulary.path(), 3)),
              HasSubstr("its vocabulary has 8000 tokens"));
  EXPECT_THAT(refusal(with_draft(small_config().model, 3)), HasSubstr("is the model itself"));
  EXPECT_THAT(refusal(with_draft(small_config().model + "/../books-2m", 3)),
              HasSubstr("is the model itself"));
  EXPECT_THAT(refusal(with_draft("/nowhere", 3)), HasSubstr("'/nowhere' is not a folder"));
  EXPECT_THAT(refusal(with_draft("ngram", 17)), HasSubstr("--draft-depth 17"));
  EngineConfig huge = with_draft(draft().path(), 3);
  huge.kv_cache_tokens = std::int64_t{1} << 40;
  EXPECT_THAT(refusal(huge), HasSubstr("KV caches of both models"));
}

TEST(Speculation, refuses_a_draft_with_another_tokenizer) {
  const DraftFolder folder;
  const auto path = std::filesystem::path(folder.path()) / "tokenizer.json";
  std::ifstream file(path);
  auto tokenizer = nlohmann::json::parse(file);
  auto& vocabulary = tokenizer["model"]["vocab"];
  std::string first;
  std::string second;
  for (const auto& [token, id] : vocabulary.items()) {
    if (id == 7000) first = token;
    if (id == 7001) second = token;
  }
  vocabulary[first] = 7001;
  vocabulary[second] = 7000;
  std::filesystem::remove(path);
  std::ofstream(path) << tokenizer.dump();
  EXPECT_THAT(refusal(with_draft(folder.path(), 3)), HasSubstr("(token 7000 differs)"));
  std::filesystem::remove(path);
  EXPECT_THAT(refusal(with_draft(folder.path(), 3)), HasSubstr("has no tokenizer to compare"));
}

}  // namespace
}  // namespace iol::test
