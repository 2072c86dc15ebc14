// The fast reader of Mooncake's lines against a JSON parser that is not ours.
#include "workload/mooncake_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "base/random.h"

namespace iol {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;

bool read(std::string_view line) {
  MooncakeLine values;
  std::vector<std::int64_t> ids;
  return read_mooncake_line(line, values, ids);
}

TEST(MooncakeLine, is_read_with_its_names_in_any_order) {
  MooncakeLine values;
  std::vector<std::int64_t> ids = {9};
  ASSERT_TRUE(read_mooncake_line(
      R"( {"hash_ids":[7, 0 ,12],"timestamp" : 27,"output_length":3, "input_length": 1000}  )",
      values, ids));
  EXPECT_EQ(values.timestamp_ms, 27);
  EXPECT_EQ(values.input_tokens, 1000);
  EXPECT_EQ(values.output_tokens, 3);
  EXPECT_THAT(ids, ElementsAre(7, 0, 12));
}

TEST(MooncakeLine, leaves_everything_unusual_to_the_parser) {
  for (
      const char* line : {
          "",
          "{}",
          R"({"timestamp": 1, "input_length": 2, "output_length": 3})",
          R"({"timestamp": 1, "input_length": 2, "output_length": 3, "hash_ids": [1], "x": 2})",
          R"({"timestamp": 1, "timestamp": 1, "input_length": 2, "output_length": 3, "hash_ids": []})",
          R"({"timestamp": 1.5, "input_length": 2, "output_length": 3, "hash_ids": []})",
          R"({"timestamp": -1, "input_length": 2, "output_length": 3, "hash_ids": []})",
          R"({"timestamp": 01, "input_length": 2, "output_length": 3, "hash_ids": []})",
          R"({"timestamp": 1e3, "input_length": 2, "output_length": 3, "hash_ids": []})",
          R"({"timestamp": 1, "input_length": 2, "output_length": 3, "hash_ids": [1,]})",
          R"({"timestamp": 1, "input_length": 2, "output_length": 3, "hash_ids": [1 2]})",
          R"({"timestamp": 1, "input_length": 2, "output_length": 3, "hash_ids": []},)",
          R"({"timestamp": 1, "input_length": 2, "output_length": 3, "hash_ids": []}{)",
          R"({"timestamp": 1, "input_length": 2, "output_length": 3, "hash_ids": [)",
          R"({"timestamp": 1234567890123456789, "input_length": 2, "output_length": 3, "hash_ids": []})",
      }) {
    EXPECT_FALSE(read(line)) << line;
  }
}

TEST(MooncakeLine, what_it_reads_is_json_and_says_the_same) {
  RandomStream random(5);
  const std::string letters = "{}[]:,\" 0123456789.-eE\\tn";
  int accepted = 0;
  for (int trial = 0; trial < 20'000; ++trial) {
    json document = {{"timestamp", random.below(1'000'000)},
                     {"input_length", random.below(10'000)},
                     {"output_length", random.below(1'000)},
                     {"hash_ids", json::array()}};
    for (std::uint64_t i = random.below(6); i > 0; --i)
      document["hash_ids"].push_back(random.below(100'000));
    std::string line = document.dump();
    if (trial % 2 == 1) {  // damaged by a letter that is replaced, added or taken away
      const auto place = static_cast<std::size_t>(random.below(line.size()));
      const char letter = letters[static_cast<std::size_t>(random.below(letters.size()))];
      const auto kind = random.below(3);
      if (kind == 0) line[place] = letter;
      if (kind == 1) line.insert(place, 1, letter);
      if (kind == 2) line.erase(place, 1);
    }
    MooncakeLine values;
    std::vector<std::int64_t> ids;
    if (!read_mooncake_line(line, values, ids)) {
      EXPECT_EQ(trial % 2, 1) << line;
      continue;
    }
    ++accepted;
    const json parsed = json::parse(line, nullptr, /*allow_exceptions=*/false);
    ASSERT_TRUE(parsed.is_object()) << line;
    EXPECT_EQ(parsed.at("timestamp"), values.timestamp_ms) << line;
    EXPECT_EQ(parsed.at("input_length"), values.input_tokens) << line;
    EXPECT_EQ(parsed.at("output_length"), values.output_tokens) << line;
    EXPECT_EQ(parsed.at("hash_ids"), json(ids)) << line;
  }
  EXPECT_GT(accepted, 10'000);
}

}  // namespace
}  // namespace iol
