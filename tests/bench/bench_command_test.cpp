// `iol bench` as a user runs it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "bench/child_process.h"
#include "tests/run_iol.h"

namespace iol::bench {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

class BenchCommand : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(::testing::TempDir()) /
              ("bench_command_" + std::to_string(::getpid()));
    std::filesystem::remove_all(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::vector<json> records() const {
    std::ifstream file(folder_ / "records.jsonl");
    std::vector<json> found;
    for (std::string line; std::getline(file, line);) found.push_back(json::parse(line));
    return found;
  }

  std::filesystem::path folder_;
};

TEST_F(BenchCommand, refuses_impossible_options_in_one_line) {
  for (const char* arguments : {"",
                                "demo --engines",
                                "demo --engines llama",
                                "demo --engines openai:localhost:8000",
                                "demo --engines openai:http://user@host",
                                "demo --engines openai:http://a:1,x,openai:http://b:1,x",
                                "demo --request-timeout 0",
                                "demo --concurrency 0",
                                "demo --concurrency 4,x",
                                "demo --requests 0",
                                "demo --repeat 0",
                                "demo --warmup -1",
                                "demo --input-tokens 0",
                                "demo --output-tokens uniform:9:3",
                                "demo --input-tokens 5000",
                                "demo --slo ttft=fast",
                                "demo --scenario nonsense",
                                "demo --prefix-cache maybe",
                                "demo --timeout 0",
                                "demo --dtype int3",
                                "demo --kv-cache int3",
                                "demo --threads -1",
                                "no-such-model",
                                "demo --rate 5",
                                "demo --arrival constant",
                                "demo --speed 2",
                                "demo --scenario load",
                                "demo --scenario sweep --rate 2",
                                "demo --scenario load --rate 0",
                                "demo --scenario load --rate nan",
                                "demo --scenario load --rate 2 --arrival gamma:0",
                                "demo --scenario load --rate 2 --duration nan",
                                "demo --scenario load --trace no-such-file",
                                "demo --input-tokens trace",
                                "demo --draft ngram,",
                                "demo --draft-depth 2",
                                "demo --draft ngram --draft-depth 99",
                                "demo --draft ngram --draft-quant fp8",
                                "demo --draft demo-draft --draft-quant int9",
                                "demo --draft ngram --simulated-acceptance 1.5",
                                "demo --simulated-acceptance 0.5",
                                "demo --ladder --scheduler static",
                                "demo --ladder --quant none",
                                "demo --ladder --kv-cache bf16",
                                "demo --ladder --engines pytorch",
                                "demo --kv-sequences 4",
                                "demo --slow-steps 0,-3",
                                "demo --ladder --slow-steps 3",
                                "demo --unknown-option",
                                "demo --device cuda"}) {
    const auto result = run_iol("bench " + std::string(arguments));
    EXPECT_EQ(result.exit_code, 2) << arguments << ": " << result.error;
    EXPECT_EQ(std::count(result.error.begin(), result.error.end(), '\n'), 1)
        << arguments << ": " << result.error;
  }
}

TEST_F(BenchCommand, without_pytorch_a_refusal_is_one_line_too) {
  ::setenv("IOL_PYTHON", "/nonexistent/python", 1);
  for (const std::string arguments :
       {"demo --scenario load --rate nan", "demo --input-tokens trace",
        "demo --scenario sweep --rate 2", "demo --kv-sequences 4"}) {
    const auto result = run_iol("bench " + arguments);
    EXPECT_EQ(result.exit_code, 2) << arguments << ": " << result.error;
    EXPECT_EQ(std::count(result.error.begin(), result.error.end(), '\n'), 1)
        << arguments << ": " << result.error;
  }
  ::unsetenv("IOL_PYTHON");
}

TEST_F(BenchCommand, an_output_folder_that_can_not_be_made_is_one_line) {
  auto result = run_iol("bench demo --engines iol -o /proc/nowhere/results");
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.error, HasSubstr("-o /proc/nowhere/results: can't create this folder"));
  std::filesystem::create_directories(folder_);
  std::ofstream(folder_ / "records.jsonl") << "{}\n";
  result = run_iol("bench demo --engines iol -o " + folder_.string());
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.error, HasSubstr("holds the records of another run"));
}

TEST_F(BenchCommand, pytorch_asked_for_and_missing_exits_2_with_what_to_do) {
  ::setenv("IOL_PYTHON", "/nonexistent/python", 1);
  const auto result = run_iol("bench demo --engines pytorch -o " + folder_.string());
  ::unsetenv("IOL_PYTHON");
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.error, HasSubstr("pip install -r baseline/requirements.txt"));
  EXPECT_FALSE(std::filesystem::exists(folder_));
}

TEST_F(BenchCommand, without_pytorch_measures_iol_and_notes_what_is_missing) {
  ::setenv("IOL_PYTHON", "/nonexistent/python", 1);
  const auto result = run_iol(
      "bench demo --concurrency 1,3 --requests 4 --repeat 2 --input-tokens uniform:5:20 "
      "--output-tokens 6 --json -o " +
      folder_.string());
  ::unsetenv("IOL_PYTHON");
  ASSERT_EQ(result.exit_code, 0) << result.error;
  EXPECT_THAT(result.error, HasSubstr("note: without the PyTorch baseline"));
  EXPECT_EQ(result.error.find('\x1b'), std::string::npos) << "no live view without a terminal";
  const auto summary = json::parse(result.out);
  EXPECT_EQ(summary.at("subjects").size(), 1);
  EXPECT_EQ(summary.at("summaries").size(), 3);
  int measured = 0;
  for (const auto& record : records()) {
    if (record["record_type"] == "environment") {
      EXPECT_EQ(record["not_measured"][0]["what"], "the PyTorch baseline");
    }
    if (record["record_type"] == "quality") {
      EXPECT_GT(record["perplexity"], 1);
    }
    if (record["record_type"] != "request") continue;
    EXPECT_TRUE(record["error"].is_null());
    EXPECT_EQ(record["metrics"]["output_sequence_length"]["value"], 6);
    measured += record["metadata"]["phase"] == "measure" ? 1 : 0;
  }
  EXPECT_EQ(measured, 3 * 2 * 4);
  for (const char* file : {"summary.json", "report.md", "report.html"}) {
    EXPECT_TRUE(std::filesystem::exists(folder_ / file)) << file;
  }
}

TEST_F(BenchCommand, a_quantized_cache_is_counted_and_its_quality_measured) {
  const auto result = run_iol(
      "bench demo --engines iol --scenario latency --repeat 1 --output-tokens 4 --kv-cache int8 "
      "--quiet -o " +
      folder_.string());
  ASSERT_EQ(result.exit_code, 0) << result.error;
  int found = 0;
  for (const auto& record : records()) {
    if (record["record_type"] == "subject") {
      EXPECT_EQ(record["settings"]["kv_dtype"], "int8");
      const auto plan = json::parse(run_iol("plan demo --kv-cache int8 --json").out);
      EXPECT_EQ(record["kv_bytes_per_token"], plan["kv_bytes_per_token"]);
      ++found;
    }
    if (record["record_type"] == "quality") {  // against the cache in the compute dtype
      EXPECT_GT(record["kl_divergence_nats"], 1e-7);
      EXPECT_LT(record["kl_divergence_nats"], 1e-3);
      ++found;
    }
  }
  EXPECT_EQ(found, 2);
}

TEST_F(BenchCommand, a_ladder_climbs_every_rung_and_says_what_each_gained) {
  const auto result = run_iol(
      "bench demo --ladder --engines iol --concurrency 8 --requests 8 --repeat 2 --input-tokens "
      "uniform:8:32 --output-tokens uniform:2:12 --usd-per-hour 0.5 --quiet -o " +
      folder_.string());
  ASSERT_EQ(result.exit_code, 0) << result.error;
  const auto summary = json::parse(std::ifstream(folder_ / "summary.json"));
  const auto& rungs = summary.at("ladder").at("rungs");
  ASSERT_EQ(rungs.size(), 6U);
  EXPECT_EQ(rungs.back().at("lever"), "speculation");
  for (const auto& rung : rungs) EXPECT_GT(rung.at("usd_per_million_output_tokens"), 0);
  EXPECT_EQ(summary.at("qualities").size(), 5U);
  for (const auto& quality : summary.at("qualities")) {
    const bool plain =
        !quality.contains("kl_divergence_nats") || quality.at("kl_divergence_nats").is_null();
    const std::string subject = quality.at("subject");
    EXPECT_EQ(plain, subject.find("int8") == std::string::npos) << subject;
  }
  // Batching and allocation don't change a token; nor does speculation, behind int8's changes.
  std::map<std::string, json> identical;
  for (const auto& agreement : summary.at("output_agreements")) {
    const std::string subject = agreement.at("subject");
    identical[subject] = agreement.at("identical");
    if (subject.find("int8") != std::string::npos || subject == "iol-speculation") continue;
    EXPECT_EQ(agreement.at("identical"), agreement.at("compared")) << subject;
  }
  EXPECT_EQ(identical.at("iol-speculation"), identical.at("iol-int8-kv-int8"));
  const auto kv_tokens = [&](const std::string& subject) {
    for (const auto& one : summary.at("summaries")) {
      if (one.at("subject") == subject && one.at("scenario") == "throughput") {
        return one.at("kv_tokens_per_sequence").get<double>();
      }
    }
    return 0.0;
  };
  EXPECT_GT(kv_tokens("iol-in-flight"), kv_tokens("iol-paged"));
}

TEST_F(BenchCommand, a_load_at_a_rate_counts_latency_from_when_requests_were_due) {
  const auto result = run_iol(
      "bench demo --engines iol --scenario load --rate 40 --arrival constant --requests 20 "
      "--repeat 2 --input-tokens 8 --output-tokens 4 --slo ttft=10s --quiet -o " +
      folder_.string());
  ASSERT_EQ(result.exit_code, 0) << result.error;
  std::map<int, std::vector<std::int64_t>> due;
  for (const auto& record : records()) {
    if (record["record_type"] != "request" || record["metadata"]["phase"] != "measure") continue;
    EXPECT_EQ(record["metadata"]["scenario"], "constant 40 req/s");
    EXPECT_GE(record["metadata"]["start_ns"], record["metadata"]["intended_start_ns"]);
    due[record["metadata"]["repetition"]].push_back(record["metadata"]["intended_start_ns"]);
  }
  ASSERT_EQ(due.size(), 2U);
  for (auto& [repetition, times] : due) {
    ASSERT_EQ(times.size(), 20U);
    for (std::size_t i = 1; i < times.size(); ++i) EXPECT_EQ(times[i] - times[i - 1], 25'000'000);
  }
  const auto summary = json::parse(std::ifstream(folder_ / "summary.json"));
  EXPECT_EQ(summary.at("summaries")[0].at("rate_req_s"), 40);
  EXPECT_EQ(summary.at("summaries")[0].at("slo_attainment"), 1);
  EXPECT_TRUE(summary.at("summaries")[0].at("generator_lateness_p99_ms").is_number());
}

TEST_F(BenchCommand, a_trace_is_replayed_with_its_times_and_shared_prefixes) {
  std::filesystem::create_directories(folder_);
  std::ofstream(folder_ / "trace.jsonl")
      << R"({"timestamp": 0, "input_length": 600, "output_length": 3, "hash_ids": [1, 2]})"
         "\n"
      << R"({"timestamp": 400, "input_length": 520, "output_length": 2, "hash_ids": [1, 3]})"
         "\n"
      << R"({"timestamp": 500, "input_length": 9000, "output_length": 2, "hash_ids": [4]})"
         "\n";
  const auto result = run_iol(
      "bench demo --engines iol --scenario load --trace " + (folder_ / "trace.jsonl").string() +
      " --speed 2 --prefix-cache on --repeat 1 --warmup 0 -o " + (folder_ / "out").string());
  ASSERT_EQ(result.exit_code, 0) << result.error;
  EXPECT_THAT(result.error, HasSubstr("1 longer than the model's context"));
  std::ifstream file(folder_ / "out/records.jsonl");
  std::vector<std::int64_t> due;
  std::int64_t cached = 0;
  for (std::string line; std::getline(file, line);) {
    const auto record = json::parse(line);
    if (record["record_type"] == "request") due.push_back(record["metadata"]["intended_start_ns"]);
    if (record["record_type"] == "run") cached = record["details"]["engine"]["cached_tokens"];
  }
  ASSERT_EQ(due.size(), 2U);
  EXPECT_EQ(due[1] - due[0], 200'000'000);
  EXPECT_EQ(cached, 512);
}

TEST_F(BenchCommand, a_sweep_finds_a_rate_between_one_that_met_and_one_that_missed) {
  const auto result = run_iol(
      "bench demo --engines iol --scenario sweep --rate 20 --duration 0.5 --slo ttft=150ms "
      "--repeat 2 --input-tokens 16 --output-tokens 8 --quiet -o " +
      folder_.string());
  ASSERT_EQ(result.exit_code, 0) << result.error;
  const auto summary = json::parse(std::ifstream(folder_ / "summary.json"));
  const auto& sweep = summary.at("sweeps").at(0);
  EXPECT_GT(sweep.at("probes").size(), 1U);
  ASSERT_TRUE(sweep.at("highest_rate_req_s").is_number());
  EXPECT_GT(sweep.at("lowest_missed_rate_req_s"), sweep.at("highest_rate_req_s"));
  EXPECT_EQ(summary.at("summaries").at(0).at("repetitions"), 2);
}

TEST_F(BenchCommand, a_full_disk_is_one_line_and_leaves_whole_records) {
  // A limit on the size of files does what a full disk does, once its signal is ignored.
  const auto result = run_iol(
      "bench demo --engines iol --scenario latency --repeat 50 --output-tokens 20 --quiet -o " +
          folder_.string(),
      "trap '' XFSZ; ulimit -f 8;");
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.error,
              HasSubstr("records.jsonl: File too large; the records so far are whole"));
  EXPECT_EQ(std::count(result.error.begin(), result.error.end(), '\n'), 1) << result.error;
  EXPECT_GT(records().size(), 2);  // and each of them parses
}

TEST_F(BenchCommand, an_interrupt_stops_cleanly_and_leaves_whole_records) {
  const pid_t child = ::fork();
  if (child == 0) {
    std::freopen("/dev/null", "w", stderr);
    ::execl(IOL_BINARY, IOL_BINARY, "bench", "demo", "--engines", "iol", "--scenario", "latency",
            "--repeat", "10000", "--output-tokens", "20", "-o", folder_.c_str(), nullptr);
    ::_exit(127);
  }
  // Until at least one measured run is on disk.
  for (int i = 0; i < 1500; ++i) {
    std::error_code error;
    const auto size = std::filesystem::file_size(folder_ / "records.jsonl", error);
    if (!error && size > 20000) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  ::kill(child, SIGINT);
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 130);
  const auto found = records();  // each line parses
  ASSERT_GT(found.size(), 10U);
  // Runs are all or nothing: two requests each, but one in the warm-up.
  std::size_t requests = 0;
  std::size_t expected = 0;
  for (const auto& record : found) {
    if (record["record_type"] == "request") ++requests;
    if (record["record_type"] == "run") expected += record["phase"] == "warmup" ? 1 : 2;
  }
  EXPECT_EQ(requests, expected);
}

}  // namespace
}  // namespace iol::bench
