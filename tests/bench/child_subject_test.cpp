#include "bench/child_subject.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "base/error.h"

namespace iol::bench {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kReady = R"({"type":"ready","memory":{"resident_bytes":5}})";

/// A subject that prints these lines: one when it starts and the rest once it has been given a run.
ChildSubject::Launch scripted(const std::string& first, const std::vector<std::string>& rest,
                              const std::string& finally = "cat > /dev/null") {
  std::string script = "echo '" + first + "'; read run; ";
  for (const auto& line : rest) script += "echo '" + line + "'; ";
  return {"scripted", "test", {"sh", "-c", script + finally}, {}};
}

std::vector<WorkloadRequest> two_requests() { return {{0, {1, 2, 3}, 2}, {1, {4, 5}, 2}}; }

constexpr const char* kAnswer0 =
    R"({"type":"request","id":0,"start_ns":100,"token_times_ns":[150,160],"tokens":[7,8]})";
constexpr const char* kAnswer1 =
    R"({"type":"request","id":1,"start_ns":110,"token_times_ns":[170,190],"tokens":[9,9]})";
constexpr const char* kDone = R"({"type":"done","start_ns":90,"end_ns":200,"extra":true})";

std::string failure_of(ChildSubject::Launch launch, double silence_seconds = 20) {
  ChildSubject subject(std::move(launch));
  const auto requests = two_requests();
  Patience patience;
  patience.silence_seconds = silence_seconds;
  try {
    subject.start(patience);
    subject.run({Phase::kMeasure, 2, requests}, patience);
  } catch (const ResourceError& error) {
    EXPECT_THAT(error.what(), Not(HasSubstr("\n")));
    EXPECT_THAT(error.what(), HasSubstr("scripted"));
    return error.what();
  }
  return "no failure";
}

TEST(ChildSubject, hands_back_what_the_child_measured_in_the_order_of_the_requests) {
  ChildSubject subject(
      scripted(kReady, {R"({"type":"progress","completed":1})", kAnswer1, kAnswer0, kDone}));
  std::vector<std::int64_t> progress;
  Patience patience;
  patience.on_progress = [&](const RunProgress& now) { progress.push_back(now.completed); };
  EXPECT_FALSE(subject.process_id().has_value());
  EXPECT_EQ(subject.start(patience).at("memory").at("resident_bytes"), 5);
  EXPECT_TRUE(subject.process_id().has_value());
  const auto requests = two_requests();
  const auto result = subject.run({Phase::kMeasure, 2, requests}, patience);
  EXPECT_EQ(progress, (std::vector<std::int64_t>{1}));
  ASSERT_EQ(result.requests.size(), 2);
  EXPECT_EQ(result.requests[0].id, 0);
  EXPECT_EQ(result.requests[0].intended_start_ns, 100);
  EXPECT_EQ(result.requests[0].token_times_ns, (std::vector<std::int64_t>{150, 160}));
  EXPECT_EQ(result.requests[1].tokens, (std::vector<std::int32_t>{9, 9}));
  EXPECT_EQ(result.start_ns, 90);
  EXPECT_EQ(result.details, nlohmann::json({{"extra", true}}));
  subject.stop();
}

TEST(ChildSubject, sends_the_run_as_documented) {
  const auto path = ::testing::TempDir() + "child_subject_run.json";
  std::string script = std::string("echo '") + kReady + "'; head -n 1 > " + path + "; ";
  for (const auto* line : {kAnswer0, kAnswer1, kDone})
    script += std::string("echo '") + line + "'; ";
  ChildSubject subject({"scripted", "test", {"sh", "-c", script}, {}});
  subject.start({});
  const auto requests = two_requests();
  subject.run({Phase::kWarmUp, 2, requests}, {});
  std::ifstream file(path);
  EXPECT_EQ(nlohmann::json::parse(file), nlohmann::json::parse(R"({
    "type": "run", "phase": "warmup", "concurrency": 2, "trace_steps": false, "watched": false,
    "requests": [
      {"id": 0, "prompt": [1, 2, 3], "output_tokens": 2, "output_limit": 2, "due_ns": 0},
      {"id": 1, "prompt": [4, 5], "output_tokens": 2, "output_limit": 2, "due_ns": 0}]})"));
}

TEST(ChildSubject, that_dies_while_loading_says_why) {
  const std::string message = failure_of(
      {"scripted", "test", {"sh", "-c", "echo 'ImportError: no torch' >&2; exit 1"}, {}});
  EXPECT_EQ(message,
            "subject scripted ended with status 1 while loading; its last words: ImportError: no "
            "torch");
}

TEST(ChildSubject, that_is_killed_during_a_run_says_so) {
  const auto message =
      failure_of(scripted(kReady, {kAnswer0}, "echo 'out of luck' >&2; kill -9 $$"));
  EXPECT_EQ(message,
            "subject scripted was killed by signal 9 (Killed) during a run; its last words: out of "
            "luck");
}

TEST(ChildSubject, that_reports_an_error_is_quoted) {
  EXPECT_THAT(failure_of(scripted(R"({"type":"error","message":"ValueError: bad"})", {})),
              HasSubstr("failed with 'ValueError: bad' while loading"));
}

TEST(ChildSubject, that_falls_silent_is_given_up) {
  EXPECT_THAT(failure_of(scripted(kReady, {}, "sleep 1000"), 1),
              HasSubstr("gave no sign of life for 1 s during a run"));
}

TEST(ChildSubject, that_breaks_the_protocol_is_refused) {
  const std::vector<std::vector<std::string>> broken = {
      {"hello"},
      {"[]"},
      {"{}"},
      {R"({"type":3})"},
      {R"({"type":"request","id":0})", kDone},
      {R"({"type":"request","id":"x","start_ns":1,"token_times_ns":[2],"tokens":[1]})"},
      {R"({"type":"done"})"},
      {kDone},                      // no request answered
      {kAnswer0, kDone},            // one of two
      {kAnswer0, kAnswer0, kDone},  // one twice
      {kAnswer0, R"({"type":"request","id":5,"start_ns":1,"token_times_ns":[2],"tokens":[1]})"},
      // More times than tokens, no token, times that run backwards or lie before the start.
      {R"({"type":"request","id":0,"start_ns":1,"token_times_ns":[2,3],"tokens":[1]})"},
      {R"({"type":"request","id":0,"start_ns":1,"token_times_ns":[],"tokens":[]})"},
      {R"({"type":"request","id":0,"start_ns":1,"token_times_ns":[3,2],"tokens":[1,1]})"},
      {R"({"type":"request","id":0,"start_ns":9,"token_times_ns":[2,3],"tokens":[1,1]})"},
  };
  for (const auto& lines : broken) {
    EXPECT_NE(failure_of(scripted(kReady, lines)), "no failure") << lines.back();
  }
  EXPECT_THAT(failure_of(scripted("not ready", {})), HasSubstr("not ready"));
}

TEST(ChildSubject, a_failed_request_carries_its_error) {
  ChildSubject subject(scripted(
      kReady, {kAnswer0, R"({"type":"request","id":1,"start_ns":9,"error":"too long"})", kDone}));
  subject.start({});
  const auto requests = two_requests();
  const auto result = subject.run({Phase::kMeasure, 2, requests}, {});
  EXPECT_FALSE(result.requests[0].error.has_value());
  EXPECT_EQ(result.requests[1].error, "too long");
}

TEST(ChildSubject, can_be_interrupted) {
  ChildSubject subject(scripted(kReady, {}, "sleep 1000"));
  subject.start({});
  const auto requests = two_requests();
  Patience patience;
  int polls = 0;
  patience.interrupted = [&] { return ++polls > 3; };
  EXPECT_THROW(subject.run({Phase::kMeasure, 2, requests}, patience), Interrupted);
}

}  // namespace
}  // namespace iol::bench
