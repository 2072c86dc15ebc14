#include "report/summary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "base/error.h"
#include "tests/report/sample_records.h"
#include "tests/temporary_folder.h"

namespace iol::report {
namespace {

const std::filesystem::path kGoldens =
    std::filesystem::path(IOL_SOURCE_DIR) / "tests/goldens/report";

Json read_json(const std::filesystem::path& path) { return Json::parse(read_text(path)); }

RunReport summarize_lines(const std::vector<Json>& records) {
  const TemporaryFolder folder;
  std::string text;
  for (const Json& record : records) text += record.dump() + "\n";
  folder.write("records.jsonl", text);
  return summarize(read_records(folder.path()));
}

void expect_close(double actual, const Json& expected, const std::string& what) {
  const double value = expected.get<double>();
  EXPECT_NEAR(actual, value, 1e-9 * std::abs(value) + 1e-12) << what;
}

/// Every number of `expected` stands in `actual` under the same key.
void expect_fields(const Json& actual, const Json& expected, const std::string& path) {
  for (const auto& [key, value] : expected.items()) {
    const std::string where = path + "." + key;
    ASSERT_TRUE(actual.contains(key)) << where;
    if (value.is_object()) {
      expect_fields(actual.at(key), value, where);
    } else if (value.is_array()) {
      for (std::size_t i = 0; i < value.size(); ++i) {
        expect_close(actual.at(key).at(i).get<double>(), value[i], where);
      }
    } else {
      ASSERT_TRUE(actual.at(key).is_number()) << where << " is " << actual.at(key);
      expect_close(actual.at(key).get<double>(), value, where);
    }
  }
}

// Expected values: tests/goldens/make_report_goldens.py, from the definitions alone.
TEST(Summary, agrees_with_an_independent_computation) {
  const Json json = to_json(summarize(read_records(kGoldens)));
  const Json expected = read_json(kGoldens / "expected.json");
  ASSERT_EQ(json.at("summaries").size(), 2u);
  for (const Json& summary : json.at("summaries")) {
    const std::string subject = summary.at("subject");
    expect_fields(summary, expected.at("summaries").at(subject), subject);
  }
  ASSERT_EQ(json.at("comparisons").size(), 4u);
  for (const Json& comparison : json.at("comparisons")) {
    EXPECT_EQ(comparison.at("baseline"), "slow");
    EXPECT_EQ(comparison.at("subject"), "fast");
    const std::string metric = comparison.at("metric");
    expect_fields(comparison, expected.at("comparisons").at(metric), metric);
  }
}

TEST(Summary, a_changed_record_changes_the_result) {
  std::vector<Json> records;
  std::istringstream lines(read_text(kGoldens / "records.jsonl"));
  for (std::string line; std::getline(lines, line);) records.push_back(Json::parse(line));
  for (Json& record : records) {
    if (record.at("record_type") != "request") continue;
    if (record.at("metadata").at("phase") != "measure") continue;
    record["metrics"]["output_sequence_length"]["value"] = 9;
    break;
  }
  const Json expected = read_json(kGoldens / "expected.json");
  const Json json = to_json(summarize_lines(records));
  EXPECT_NE(json.at("summaries").at(0).at("output_throughput_tok_s"),
            expected.at("summaries").at("slow").at("output_throughput_tok_s"));
}

TEST(Summary, has_every_field_that_the_interface_promises) {
  const Json json = to_json(summarize_lines(sample::SampleRun({}).records()));
  for (const char* key :
       {"environment", "subjects", "summaries", "qualities", "costs", "comparisons"}) {
    EXPECT_TRUE(json.contains(key)) << key;
  }
  EXPECT_EQ(json.at("summaries").size(), 15u);  // 3 subjects, one stream and four concurrencies
  for (const Json& summary : json.at("summaries")) {
    EXPECT_EQ(summary.at("record_type"), "summary");
    EXPECT_EQ(summary.at("schema_version"), 1);
    for (const char* key : {"run_id", "subject", "scenario", "concurrency", "metrics",
                            "output_throughput_tok_s", "request_throughput_req_s", "goodput_req_s",
                            "failed", "limit_fraction", "memory_peak_bytes",
                            "memory_reserved_bytes", "power_mean_w", "energy_per_output_token_j"}) {
      EXPECT_TRUE(summary.contains(key)) << key;
    }
    for (const auto& [name, metric] : summary.at("metrics").items()) {
      for (const char* key : {"unit", "mean", "std", "p50", "p90", "p95", "p99", "max", "count"}) {
        EXPECT_TRUE(metric.contains(key)) << name << "." << key;
      }
    }
  }
  for (const Json& comparison : json.at("comparisons")) {
    EXPECT_EQ(comparison.at("pairs"), 6);
    EXPECT_EQ(comparison.at("interval").size(), 2u);
    EXPECT_LE(comparison.at("gain_interval").at(0), comparison.at("gain"));
    EXPECT_GE(comparison.at("gain_interval").at(1), comparison.at("gain"));
  }
}

TEST(Summary, what_was_not_measured_is_null_and_never_0) {
  const Json json = to_json(summarize_lines(sample::SampleRun({}).records()));
  const Json& summary = json.at("summaries").at(0);
  for (const char* key : {"power_mean_w", "energy_per_output_token_j", "goodput_req_s"}) {
    EXPECT_TRUE(summary.at(key).is_null()) << key;
  }
  EXPECT_EQ(summary.at("power_missing_because"), "no power reading on this machine");
}

/// The sample run on a GPU that takes `watts` and counts `counted_watts`.
std::vector<Json> on_a_gpu(double watts, double counted_watts) {
  std::vector<Json> records = sample::SampleRun({}).records();
  std::vector<Json> samples;
  for (const Json& record : records) {
    if (record.at("record_type") != "device_sample") continue;
    Json gpu = record;
    const auto t_ns = record.at("t_ns").get<std::int64_t>();
    gpu["device"] = "GPU-1";
    gpu["memory_used_bytes"] = 7e9;
    gpu["power_w"] = watts;
    gpu.erase("power_unavailable");
    for (const std::int64_t later_ns : {0, 99'999'999}) {  // one is behind the run's end
      gpu["t_ns"] = t_ns + later_ns;
      gpu["energy_joules"] = 1e6 + counted_watts * 1e-9 * static_cast<double>(t_ns + later_ns);
      samples.push_back(gpu);
    }
  }
  records.insert(records.end(), samples.begin(), samples.end());
  return records;
}

TEST(Summary, on_a_gpu_memory_and_power_are_the_gpus) {
  const Json json = to_json(summarize_lines(on_a_gpu(300, 315)));
  const Json& summary = json.at("summaries").at(0);
  EXPECT_EQ(summary.at("memory_peak_bytes"), 7e9);  // and not the host's in addition
  EXPECT_NEAR(summary.at("power_mean_w").get<double>(), 300, 1e-6);
  // The device's own counter checks the trapezoids.
  const double joules = summary.at("energy_joules").get<double>();
  EXPECT_GT(joules, 0);
  EXPECT_NEAR(summary.at("counted_joules").get<double>(), joules * 315 / 300, 1e-6 * joules);
}

TEST(Summary, compares_every_subject_with_the_first_and_then_with_each_other) {
  const RunReport report = summarize_lines(sample::SampleRun({}).records());
  ASSERT_EQ(report.comparisons.size(), 3u * 5 * 4);
  EXPECT_EQ(report.comparisons.front().baseline, "pytorch-eager");
  EXPECT_EQ(report.comparisons.back().baseline, "pytorch-compiled");
  const Comparison* gain =
      report.find_comparison("pytorch-eager", "iol", "latency", 1, "inter_token_latency");
  ASSERT_NE(gain, nullptr);
  EXPECT_NEAR(gain->gain, 6.20 / 0.82, 0.5);  // what the sample was made with
  EXPECT_TRUE(gain->significant());
  EXPECT_NEAR(gain->gain * gain->ratio.ratio, 1.0, 1e-12);
}

TEST(Summary, marks_pairs_whose_runs_saw_different_bandwidths) {
  sample::SampleRun run({});
  for (Json& record : run.records()) {
    if (record.at("record_type") == "canary" && record.at("subject") == "iol" &&
        record.at("repetition") == 1) {
      record["read_bytes_per_s"] = 40e9;
    }
  }
  const RunReport report = summarize_lines(run.records());
  EXPECT_EQ(
      report.find_comparison("pytorch-eager", "iol", "latency", 1, "request_latency")->marked_pairs,
      1);
  EXPECT_EQ(
      report.find_comparison("pytorch-eager", "pytorch-compiled", "latency", 1, "request_latency")
          ->marked_pairs,
      0);
}

TEST(Summary, holds_a_model_that_caches_serve_against_their_bandwidth) {
  const auto fraction = [](sample::SampleRun& run) {
    return summarize_lines(run.records()).find_summary("iol", "latency", 1)->limit_fraction.value();
  };
  sample::SampleRun run({});
  const double of_memory = fraction(run);
  for (Json& record : run.records()) {
    if (record.at("record_type") != "canary") continue;
    record["weights_read_bytes_per_s"] = 2 * record["read_bytes_per_s"].get<double>();
  }
  EXPECT_NEAR(fraction(run), of_memory / 2, 1e-9);
}

TEST(Summary, pairs_only_the_repetitions_that_both_subjects_have) {
  sample::SampleRun run({});
  std::erase_if(run.records(), [](const Json& record) {
    return record.at("record_type") == "request" && record.at("metadata").at("subject") == "iol" &&
           record.at("metadata").at("repetition").get<int>() >= 4;
  });
  const RunReport report = summarize_lines(run.records());
  EXPECT_EQ(
      report.find_comparison("pytorch-eager", "iol", "latency", 1, "request_latency")->ratio.pairs,
      4);
}

TEST(Summary, a_subject_whose_requests_all_failed_has_no_speed) {
  sample::SampleRun run({});
  for (Json& record : run.records()) {
    if (record.at("record_type") != "request") continue;
    if (record.at("metadata").at("subject") != "iol") continue;
    record["error"] = {{"type", "Crash"}, {"message", "the process ended"}};
  }
  const RunReport report = summarize_lines(run.records());
  const Summary* summary = report.find_summary("iol", "latency", 1);
  ASSERT_NE(summary, nullptr);
  EXPECT_EQ(summary->failed, summary->requests);
  EXPECT_FALSE(summary->output_throughput_tok_s.has_value());
  EXPECT_TRUE(summary->metrics.empty());
  EXPECT_EQ(report.find_comparison("pytorch-eager", "iol", "latency", 1, "request_latency"),
            nullptr);
}

TEST(Summary, counts_requests_with_the_same_tokens) {
  const RunReport report = summarize_lines(sample::SampleRun({}).records());
  ASSERT_EQ(report.agreements.size(), 2u);
  EXPECT_EQ(report.agreements[0].identical, report.agreements[0].compared);
  EXPECT_EQ(report.agreements[1].compared, 6 * (8 + 6 + 12 + 36 + 132));
  // One in twenty of each run differs: indices 7, 27, 47, ... of runs of 8, 6, 12, 36, 132.
  EXPECT_EQ(report.agreements[1].compared - report.agreements[1].identical,
            6 * (1 + 0 + 1 + 2 + 7));
}

TEST(Summary, refuses_records_without_a_measured_request) {
  sample::SampleRun run({});
  std::erase_if(run.records(), [](const Json& record) {
    return record.at("record_type") == "request" && record.at("metadata").at("phase") == "measure";
  });
  EXPECT_THROW(summarize_lines(run.records()), InputError);
}

}  // namespace
}  // namespace iol::report
