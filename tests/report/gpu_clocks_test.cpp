// What the report says about GPUs' clocks, from samples put into a run beside the host's.
#include "report/gpu_clocks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "report/findings.h"
#include "tests/report/sample_records.h"
#include "tests/temporary_folder.h"

namespace iol::report {
namespace {

using testing::AllOf;
using testing::HasSubstr;

/// Sets the clock and reasons of the sample with that number, of the subject's.
using Describe = std::function<void(int number, Json& sample)>;

/// The sample run of one subject on a GPU of at most 1,980 MHz and 700 W.
RunReport on_a_gpu(const Describe& describe) {
  sample::SampleOptions options;
  options.subjects = {options.subjects.back()};
  options.concurrencies = {4};
  std::vector<Json> records = sample::SampleRun(options).records();
  std::vector<Json> samples;
  for (Json& record : records) {
    if (record.at("record_type") == "environment")
      record["device"] = {{"max_sm_clock_mhz", 1980}, {"power_limit_w", 700}};
    if (record.at("record_type") != "device_sample") continue;
    Json gpu = record;
    gpu["device"] = "GPU-1";
    gpu["sm_clock_mhz"] = 1980;
    gpu["throttle_reasons"] = "";
    describe(static_cast<int>(samples.size()), gpu);
    samples.push_back(gpu);
  }
  // Long before the first run: counts for none.
  Json before = samples.front();
  before["t_ns"] = 0;
  before["sm_clock_mhz"] = 345;
  before["throttle_reasons"] = "heat";
  samples.push_back(before);
  records.insert(records.end(), samples.begin(), samples.end());
  const TemporaryFolder folder;
  std::string text;
  for (const Json& record : records) text += record.dump() + "\n";
  folder.write("records.jsonl", text);
  return summarize(read_records(folder.path()));
}

std::vector<Finding> clocks_of(const RunReport& report) {
  std::vector<Finding> findings;
  add_gpu_clocks(findings, report);
  return findings;
}

TEST(GpuClocks, without_a_gpu_nothing_is_said) {
  const TemporaryFolder folder;
  sample::SampleRun({}).write(folder.path());
  EXPECT_TRUE(clocks_of(summarize(read_records(folder.path()))).empty());
}

TEST(GpuClocks, a_gpu_that_nothing_slows_down_is_told_as_such) {
  const auto findings = clocks_of(on_a_gpu([](int, Json&) {}));
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(findings[0].level, Level::kOk);
  EXPECT_THAT(findings[0].text, AllOf(HasSubstr("iol ran at 1980 MHz of at most 1980"),
                                      HasSubstr("nothing slowed the GPU down")));
}

TEST(GpuClocks, a_power_cap_is_a_note_with_its_share_and_the_clocks) {
  const auto report = on_a_gpu([](int number, Json& sample) {
    if (number % 4 == 0) return;  // three quarters are slowed down
    sample["sm_clock_mhz"] = number % 4 == 1 ? 1470 : 1665;
    sample["throttle_reasons"] = "power cap";
  });
  const auto findings = clocks_of(report);
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(findings[0].level, Level::kNote);
  EXPECT_THAT(
      findings[0].text,
      AllOf(HasSubstr("slowed down in 75"), HasSubstr("of the samples of iol (power cap of 700 W)"),
            HasSubstr("1665 MHz of at most 1980 at the median, 1470 at the least")));
  bool is_found = false;
  for (const Finding& finding : find_findings(report)) is_found |= finding.title == "GPU clock";
  EXPECT_TRUE(is_found);
}

TEST(GpuClocks, heat_is_a_warning) {
  const auto findings = clocks_of(on_a_gpu([](int number, Json& sample) {
    sample["throttle_reasons"] = number % 2 == 0 ? "heat" : "power cap";
  }));
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(findings[0].level, Level::kWarning);
  EXPECT_THAT(findings[0].text, HasSubstr("(heat, power cap)"));
}

}  // namespace
}  // namespace iol::report
