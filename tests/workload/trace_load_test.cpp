#include "workload/trace_load.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"

namespace iol {
namespace {

class TraceLoadTest : public ::testing::Test {
 protected:
  TraceLoadTest()
      : path_(std::filesystem::path(::testing::TempDir()) /
              ("trace_load_" + std::to_string(::getpid()))) {}
  ~TraceLoadTest() override { std::filesystem::remove(path_); }

  TraceLoad load(const std::string& text, std::int64_t most = 1000, std::int64_t context = 4096) {
    std::ofstream(path_) << text;
    return read_trace_load(path_, most, context);
  }

  std::filesystem::path path_;
};

const std::string kMooncake =
    R"({"timestamp": 1000, "input_length": 1100, "output_length": 20, "hash_ids": [7, 8, 9]})"
    "\n"
    R"({"timestamp": 1500, "input_length": 700, "output_length": 5, "hash_ids": [7, 10]})"
    "\n"
    R"({"timestamp": 4000, "input_length": 9000, "output_length": 5, "hash_ids": [1]})"
    "\n"
    R"({"timestamp": 4500, "input_length": 10, "output_length": 3, "hash_ids": [11]})"
    "\n";

TEST_F(TraceLoadTest, keeps_times_and_lengths_and_leaves_out_what_does_not_fit) {
  const auto trace = load(kMooncake);
  ASSERT_EQ(trace.entries.size(), 3U);
  EXPECT_EQ(trace.too_long, 1);
  EXPECT_TRUE(trace.has_times);
  EXPECT_TRUE(trace.shares_prefixes);
  EXPECT_EQ(trace.entries[0].due_ns, 0);
  EXPECT_EQ(trace.entries[1].due_ns, 500'000'000);
  EXPECT_EQ(trace.entries[2].due_ns, 3'500'000'000);
  EXPECT_EQ(trace.entries[1].input_tokens, 700);
}

TEST_F(TraceLoadTest, replays_at_a_speed) {
  const auto trace = load(kMooncake);
  const auto source = PromptSource::random_ids(1000);
  const auto requests =
      replay_requests(trace, source, {.count = 3, .speed = 2, .first_id = 40, .seed = 1});
  ASSERT_EQ(requests.size(), 3U);
  EXPECT_EQ(requests[0].id, 40);
  EXPECT_EQ(requests[1].due_ns, 250'000'000);
  EXPECT_EQ(requests[2].due_ns, 1'750'000'000);
  EXPECT_EQ(requests[0].prompt_tokens.size(), 1100U);
  EXPECT_EQ(requests[0].output_tokens, 20);
}

TEST_F(TraceLoadTest, equal_blocks_are_equal_tokens_and_others_differ) {
  const auto trace = load(kMooncake);
  const auto source = PromptSource::random_ids(100'000);
  const auto requests = replay_requests(trace, source, {.count = 3, .seed = 1});
  const auto& a = requests[0].prompt_tokens;
  const auto& b = requests[1].prompt_tokens;
  EXPECT_TRUE(std::equal(a.begin(), a.begin() + 512, b.begin()));
  EXPECT_FALSE(std::equal(a.begin() + 512, a.begin() + 700, b.begin() + 512));
  // The next repetition must not find this one's prefixes.
  const auto next = replay_requests(trace, source, {.count = 3, .first_id = 3, .seed = 1});
  EXPECT_NE(next[0].prompt_tokens, a);
  EXPECT_TRUE(std::equal(next[0].prompt_tokens.begin(), next[0].prompt_tokens.begin() + 512,
                         next[1].prompt_tokens.begin()));
}

TEST_F(TraceLoadTest, more_requests_than_the_trace_has_begin_it_anew) {
  const auto trace = load(kMooncake);
  const auto requests = replay_requests(trace, PromptSource::random_ids(1000), {.count = 7});
  ASSERT_EQ(requests.size(), 7U);
  EXPECT_EQ(requests[6].prompt_tokens.size(), requests[0].prompt_tokens.size());
  EXPECT_EQ(requests[6].id, 6);
}

TEST_F(TraceLoadTest, requests_without_an_answer_are_counted_and_left_out) {
  const auto trace = load(
      "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
      "5,ChatGPT,472,18,490,Conversation log\n"
      "45,ChatGPT,1087,0,1087,Conversation log\n"
      "118,GPT-4,417,276,693,Conversation log\n");
  EXPECT_EQ(trace.entries.size(), 2U);
  EXPECT_EQ(trace.failed, 1);
  EXPECT_FALSE(trace.shares_prefixes);
  EXPECT_EQ(trace.entries[1].due_ns, 113'000'000'000);
}

TEST_F(TraceLoadTest, reads_no_more_than_it_is_asked_for) {
  EXPECT_EQ(load(kMooncake, 2).entries.size(), 2U);
}

TEST_F(TraceLoadTest, a_trace_without_a_request_that_fits_is_refused) {
  EXPECT_THROW(load(kMooncake, 1000, 8), InputError);
  EXPECT_THROW(load(""), InputError);
}

}  // namespace
}  // namespace iol
