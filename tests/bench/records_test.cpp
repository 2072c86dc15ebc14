#include "bench/records.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "tests/telemetry/fake_nvml.h"

namespace iol::bench {
namespace {

using nlohmann::json;

class Records : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(::testing::TempDir()) /
              ("records_test_" + std::to_string(::getpid()));
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::vector<json> read() const {
    std::ifstream file(folder_ / "records.jsonl");
    std::vector<json> records;
    for (std::string line; std::getline(file, line);) records.push_back(json::parse(line));
    return records;
  }

  std::filesystem::path folder_;
};

const RunLabel kLabel{"pytorch-eager", "throughput", 4, 2, Phase::kMeasure};

RequestResult result_at(std::vector<std::int64_t> times) {
  RequestResult result;
  result.id = 17;
  result.intended_start_ns = 1'000'000'000;
  result.start_ns = 1'000'500'000;
  result.tokens.assign(times.size(), 5);
  result.token_times_ns = std::move(times);
  return result;
}

TEST_F(Records, each_is_one_line_with_its_type_and_run) {
  RecordWriter writer(folder_ / "records.jsonl", "run-1");
  writer.write("environment", {{"text", "two\nlines"}});
  writer.write("canary", canary_record(kLabel, true, {42e9, 150e9}));
  const auto records = read();  // without closing the writer: every record is already there
  ASSERT_EQ(records.size(), 2);
  EXPECT_EQ(records[0]["text"], "two\nlines");
  EXPECT_EQ(records[1], json::parse(R"({"record_type": "canary", "schema_version": 1,
      "run_id": "run-1", "subject": "pytorch-eager", "scenario": "throughput", "concurrency": 4,
      "repetition": 2, "phase": "measure", "position": "after", "read_bytes_per_s": 42e9,
      "weights_read_bytes_per_s": 150e9})"));
}

TEST_F(Records, a_full_disk_is_one_clear_line) {
  RecordWriter writer("/dev/full", "run-1");
  try {
    writer.write("environment", json::object());
    FAIL() << "written";
  } catch (const ResourceError& error) {
    EXPECT_EQ(std::string(error.what()),
              "can't write /dev/full: No space left on device; the records so far are whole; free "
              "space or choose another folder with -o");
  }
}

TEST_F(Records, bytes_that_are_not_utf8_do_not_end_the_run) {
  RecordWriter writer(folder_ / "records.jsonl", "run-1");
  writer.write("subject", {{"error", "bad \xff\xfe byte"}});
  EXPECT_EQ(read().size(), 1);
}

TEST_F(Records, never_overwrite_those_of_another_run) {
  { RecordWriter writer(folder_ / "records.jsonl", "run-1"); }
  EXPECT_THROW(RecordWriter(folder_ / "records.jsonl", "run-2"), InputError);
  EXPECT_THROW(RecordWriter(folder_ / "missing/records.jsonl", "run-2"), ResourceError);
}

TEST_F(Records, latency_counts_from_the_intended_start) {
  const WorkloadRequest request{17, {1, 2, 3}, 4};
  // ttft 10 ms, then gaps of 2, 3 and 4 ms.
  const auto record = request_record(
      kLabel, request, result_at({1'010'000'000, 1'012'000'000, 1'015'000'000, 1'019'000'000}));
  EXPECT_EQ(record["metadata"]["request_id"], "17");
  EXPECT_EQ(record["metadata"]["phase"], "measure");
  EXPECT_EQ(record["metadata"]["intended_start_ns"], 1'000'000'000);
  EXPECT_EQ(record["metadata"]["start_ns"], 1'000'500'000);
  EXPECT_EQ(record["metadata"]["end_ns"], 1'019'000'000);
  EXPECT_EQ(record["metadata"]["requested_output_tokens"], 4);
  EXPECT_TRUE(record["error"].is_null());
  const auto& metrics = record["metrics"];
  EXPECT_EQ(metrics["time_to_first_token"], json({{"value", 10.0}, {"unit", "ms"}}));
  EXPECT_EQ(metrics["request_latency"]["value"], 19.0);
  EXPECT_EQ(metrics["inter_token_latency"]["value"], 3.0);
  EXPECT_EQ(metrics["itl"], json({{"value", {2.0, 3.0, 4.0}}, {"unit", "ms"}}));
  EXPECT_EQ(metrics["input_sequence_length"]["value"], 3);
  EXPECT_EQ(metrics["output_sequence_length"]["value"], 4);
}

TEST_F(Records, one_token_has_no_gap_rather_than_a_gap_of_zero) {
  const auto record = request_record(kLabel, {17, {1}, 1}, result_at({1'010'000'000}));
  EXPECT_FALSE(record["metrics"].contains("itl"));
  EXPECT_FALSE(record["metrics"].contains("inter_token_latency"));
  EXPECT_EQ(record["metrics"]["request_latency"]["value"], 10.0);
}

TEST_F(Records, a_failed_request_has_an_error_and_no_metrics) {
  RequestResult result;
  result.id = 17;
  result.error = "it died";
  const auto record = request_record(kLabel, {17, {1}, 5}, result);
  EXPECT_EQ(record["error"]["message"], "it died");
  EXPECT_TRUE(record["metrics"].empty());
}

TEST_F(Records, what_could_not_be_sampled_is_null_with_the_reason) {
  DeviceSample sample;
  sample.t_ns = 5;
  sample.memory_used_bytes = 1000;
  auto record = device_sample_record(kLabel, sample, "no RAPL");
  EXPECT_EQ(record["memory_used_bytes"], 1000);
  EXPECT_TRUE(record["power_w"].is_null());
  EXPECT_EQ(record["power_unavailable"], "no RAPL");
  sample.power_w = 12.5;
  record = device_sample_record(kLabel, sample, "");
  EXPECT_EQ(record["power_w"], 12.5);
  EXPECT_FALSE(record.contains("power_unavailable"));
}

TEST_F(Records, a_gpu_sample_names_the_gpu_and_says_what_it_could_not_read) {
  test::fake_nvml() = test::FakeNvmlState();
  test::fake_nvml().results["temperature"] = 3;
  test::fake_nvml().processes[42] = 7000;
  GpuMonitor gpu(test::fake_nvml().uuid, IOL_FAKE_NVML);
  DeviceSample sample;
  sample.t_ns = 5;
  sample.gpu = gpu.read(42);
  const auto record = gpu_sample_record(kLabel, sample, gpu);
  EXPECT_EQ(record["device"], test::fake_nvml().uuid);
  EXPECT_EQ(record["power_w"], 312.5);
  EXPECT_EQ(record["memory_used_bytes"], 7000);
  EXPECT_EQ(record["throttle_reasons"], "power cap");
  EXPECT_TRUE(record["temperature_c"].is_null());
  EXPECT_EQ(record["unavailable"]["temperature_c"], "NVML: Not Supported");
  EXPECT_FALSE(record.contains("power_unavailable"));
}

TEST_F(Records, without_nvml_a_gpu_sample_is_null_with_the_reason) {
  GpuMonitor gpu("GPU-1", "libnot-there.so.1");
  DeviceSample sample;
  sample.gpu = gpu.read(42);
  const auto record = gpu_sample_record(kLabel, sample, gpu);
  EXPECT_TRUE(record["power_w"].is_null());
  EXPECT_EQ(record["power_unavailable"], gpu.unavailable_reason());
}

// http://www.isthe.com/chongo/src/fnv/test_fnv.c: FNV-1a, 64 bits, of nothing; and of the bytes of
// "foobar" padded to two little-endian 32-bit words, computed with Python.
TEST_F(Records, outputs_are_told_apart_by_a_published_hash) {
  EXPECT_EQ(token_hash({}), "cbf29ce484222325");
  const std::vector<std::int32_t> tokens = {0x626f6f66, 0x00007261};
  EXPECT_EQ(token_hash(tokens), "74c8e7eb4f245c28");
}

}  // namespace
}  // namespace iol::bench
