#include "report/export.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "base/error.h"
#include "tests/report/sample_records.h"
#include "tests/temporary_folder.h"

namespace iol::report {
namespace {

class Export : public ::testing::Test {
 protected:
  Export() {
    sample::SampleOptions options;
    options.concurrencies = {4};
    options.repetitions = 2;
    run_ = std::make_unique<sample::SampleRun>(options);
  }
  Records records() {
    run_->write(folder_.path());
    return read_records(folder_.path());
  }
  void add_step(std::int64_t t_ns) {
    run_->records().push_back({{"record_type", "step"},
                               {"schema_version", 1},
                               {"run_id", run_->records().front()["run_id"]},
                               {"subject", "iol"},
                               {"scenario", "latency"},
                               {"concurrency", 1},
                               {"repetition", 0},
                               {"t_ns", t_ns},
                               {"duration_ns", 800'000},
                               {"host_ns", 10'000},
                               {"prefill_tokens", 5},
                               {"decode_tokens", 2},
                               {"running", 3},
                               {"waiting", 1},
                               {"blocks_used", 9}});
  }

  TemporaryFolder folder_;
  std::unique_ptr<sample::SampleRun> run_;
};

TEST_F(Export, perfetto_events_follow_the_trace_event_format) {
  add_step(1'500'000'000);
  const Json trace = perfetto_trace(records());
  std::map<std::string, int> phases;
  std::set<std::string> open;
  for (const Json& event : trace.at("traceEvents")) {
    const std::string phase = event.at("ph");
    ++phases[phase];
    EXPECT_TRUE(event.at("pid").is_number_integer());
    if (phase != "M") {
      EXPECT_GE(event.at("ts"), 0);
    }
    if (phase == "b") {
      const std::string key = event.at("id").get<std::string>() + event.at("ts").dump();
      EXPECT_TRUE(open.insert(key).second) << key;
    }
    if (phase == "X") {
      EXPECT_EQ(event.at("dur"), 800);  // microseconds
      EXPECT_EQ(event.at("name"), "mixed");
    }
  }
  EXPECT_GT(phases["b"], 0);
  EXPECT_EQ(phases["b"], phases["e"]);
  EXPECT_EQ(phases["b"], phases["n"]);
  EXPECT_EQ(phases["X"], 1);
  EXPECT_EQ(phases["C"], 2);
  EXPECT_EQ(phases["M"], 2 * 3);
}

TEST_F(Export, vllm_has_its_names_and_its_units) {
  const RunReport report = summarize(records());
  const Summary& summary = *report.find_summary("iol", "throughput", 4);
  const Json result = vllm_result(report, summary);
  EXPECT_EQ(result.at("num_prompts"), summary.requests);
  EXPECT_EQ(result.at("completed"), summary.requests - summary.failed);
  EXPECT_EQ(result.at("max_concurrency"), 4);
  EXPECT_EQ(result.at("request_rate"), "inf");
  EXPECT_DOUBLE_EQ(result.at("output_throughput"), *summary.output_throughput_tok_s);
  // Lists are in seconds, statistics in milliseconds, as vLLM has them.
  double sum = 0;
  for (const Json& ttft : result.at("ttfts")) sum += ttft.get<double>();
  EXPECT_NEAR(sum / static_cast<double>(result.at("ttfts").size()) * 1e3, result.at("mean_ttft_ms"),
              1e-9);
  EXPECT_EQ(result.at("itls").at(0).size(), 199U);
  double tokens = 0;
  for (const Json& length : result.at("output_lens")) tokens += length.get<double>();
  EXPECT_NEAR(tokens / result.at("duration").get<double>(), result.at("output_throughput"), 1e-6);
}

TEST_F(Export, aiperf_has_one_line_per_measured_request) {
  for (Json& record : run_->records()) {
    if (record["record_type"] != "request" || record["metadata"]["phase"] != "measure") continue;
    record["error"] = {{"type", "Timeout"}, {"message", "no answer"}};
    break;
  }
  const Records all = records();
  const auto lines = aiperf_requests(all);
  const auto measured = std::count_if(all.requests.begin(), all.requests.end(),
                                      [](const RequestRecord& request) { return !request.warmup; });
  ASSERT_EQ(lines.size(), static_cast<std::size_t>(measured));
  EXPECT_EQ(lines[0].at("error").at("type"), "Timeout");
  EXPECT_TRUE(lines[0].at("metrics").empty());
  EXPECT_EQ(lines[1].at("error"), nullptr);
  EXPECT_EQ(lines[1].at("metrics").at("time_to_first_token").at("unit"), "ms");
  EXPECT_EQ(lines[1].at("metrics").at("output_sequence_length").at("value"), 200);
}

TEST_F(Export, aiperf_itself_reads_it) {
  const std::filesystem::path source = IOL_SOURCE_DIR;
  const auto reader = source / ".cache/aiperf-reader";
  if (!std::filesystem::exists(reader / "aiperf")) {
    GTEST_SKIP() << "AIPerf isn't in " << reader << "; tools/setup.sh installs it";
  }
  for (Json& record : run_->records()) {
    if (record["record_type"] != "request" || record["metadata"]["phase"] != "measure") continue;
    record["error"] = {{"type", "Timeout"}, {"message", "no answer"}};
    break;
  }
  run_->write(folder_.path());
  const auto files = write_export("aiperf", folder_.path(), folder_.path() / "out");
  const auto read = folder_.path() / "read.json";
  const std::string command = "PYTHONPATH=" + reader.string() + " " +
                              (source / ".venv/bin/python").string() + " " +
                              (source / "tests/report/read_aiperf.py").string() + " " +
                              files.at(0).string() + " >" + read.string();
  ASSERT_EQ(std::system(command.c_str()), 0) << command;
  const Json found = Json::parse(read_text(read));
  const Records all = read_records(folder_.path());
  std::size_t number = 0;
  for (const RequestRecord& request : all.requests) {
    if (request.warmup) continue;
    const Json& one = found.at(number);
    EXPECT_EQ(one.at("session_num"), number);
    EXPECT_EQ(one.at("phase"), "profiling");
    EXPECT_EQ(one.at("start_ns"), request.start_ns);
    EXPECT_EQ(one.at("end_ns"), request.end_ns);
    if (request.error) {
      EXPECT_EQ(one.at("error"), request.error->message);
      EXPECT_TRUE(one.at("metrics").empty());
    } else {
      EXPECT_TRUE(one.at("error").is_null());
      EXPECT_EQ(one.at("metrics").at("time_to_first_token"), Json({*request.ttft_ms, "ms"}));
      EXPECT_EQ(one.at("metrics").at("output_sequence_length"),
                Json({request.output_tokens, "tokens"}));
      EXPECT_EQ(one.at("metrics").at("inter_chunk_latency").at(0), Json(request.itl_ms));
    }
    ++number;
  }
  EXPECT_EQ(found.size(), number);
}

TEST_F(Export, writes_a_file_per_subject_and_load_for_vllm) {
  run_->write(folder_.path());
  const auto files = write_export("vllm", folder_.path(), folder_.path() / "out");
  EXPECT_EQ(files.size(), 3U * 2);
  EXPECT_TRUE(std::filesystem::exists(folder_.path() / "out/vllm-iol-throughput-4.json"));
  EXPECT_THROW(write_export("csv", folder_.path(), folder_.path()), InputError);
}

TEST_F(Export, nothing_to_draw_is_refused) {
  std::erase_if(run_->records(),
                [](const Json& record) { return record["record_type"] == "request"; });
  EXPECT_THROW(perfetto_trace(records()), InputError);
}

}  // namespace
}  // namespace iol::report
