// `iol report` as a user runs it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/report/sample_records.h"
#include "tests/run_iol.h"
#include "tests/temporary_folder.h"

namespace iol::report {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

sample::SampleRun small_run() {
  sample::SampleOptions options;
  options.concurrencies = {1, 4};
  options.repetitions = 2;
  return sample::SampleRun(options);
}

TEST(ReportCommand, writes_into_the_results_folder_or_where_asked) {
  const TemporaryFolder folder;
  small_run().write(folder.path());
  EXPECT_EQ(run_iol("report " + folder.path().string()).exit_code, 0);
  EXPECT_TRUE(std::filesystem::exists(folder.path() / "report.html"));
  const auto out = folder.path() / "a/b";
  EXPECT_EQ(run_iol("report " + folder.path().string() + " -o " + out.string()).exit_code, 0);
  EXPECT_TRUE(std::filesystem::exists(out / "report.md"));
}

TEST(ReportCommand, with_json_prints_one_document_and_nothing_else) {
  const TemporaryFolder folder;
  small_run().write(folder.path());
  const Outcome outcome = run_iol("report --json " + folder.path().string());
  EXPECT_EQ(outcome.exit_code, 0);
  const auto json = nlohmann::json::parse(outcome.out);
  EXPECT_THAT(json.at("html").get<std::string>(), HasSubstr("report.html"));
}

TEST(ReportCommand, bad_input_exits_2_with_one_line) {
  const TemporaryFolder folder;
  folder.write("records.jsonl", "not a record\n");
  const std::string path = folder.path().string();
  for (const std::string arguments :
       {"report", "report /no/such/folder", "report --export csv x", "report a b"}) {
    const Outcome outcome = run_iol(arguments);
    EXPECT_EQ(outcome.exit_code, 2) << arguments;
    EXPECT_THAT(outcome.error, StartsWith("iol: ")) << arguments;
    EXPECT_EQ(std::count(outcome.error.begin(), outcome.error.end(), '\n'), 1) << arguments;
  }
  const Outcome outcome = run_iol("report " + path);
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.error, HasSubstr("records.jsonl:1: not a JSON record"));
}

TEST(ReportCommand, writes_the_forms_of_other_tools) {
  TemporaryFolder folder;
  sample::SampleRun({}).write(folder.path());
  const Outcome outcome = run_iol("report --export aiperf " + folder.path().string());
  EXPECT_EQ(outcome.exit_code, 0) << outcome.error;
  EXPECT_EQ(outcome.out, (folder.path() / "profile_export.jsonl").string() + "\n");
  EXPECT_TRUE(std::filesystem::exists(folder.path() / "profile_export.jsonl"));
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "report.html"));
}

TEST(ReportCommand, an_output_folder_that_can_not_be_made_exits_1) {
  const TemporaryFolder folder;
  small_run().write(folder.path());
  const Outcome outcome = run_iol("report " + folder.path().string() + " -o /dev/full/report");
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.error, HasSubstr("/dev/full/report"));
}

}  // namespace
}  // namespace iol::report
