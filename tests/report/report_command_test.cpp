// `iol report` as a user runs it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>

#include "tests/report/sample_records.h"
#include "tests/report/temporary_folder.h"

namespace iol::report {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

struct Outcome {
  int exit_code = -1;
  std::string output;  // stdout and stderr
};

Outcome run_iol(const std::string& arguments) {
  Outcome outcome;
  FILE* pipe = ::popen((std::string(IOL_BINARY) + " " + arguments + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return outcome;
  std::array<char, 4096> buffer{};
  while (const auto count = std::fread(buffer.data(), 1, buffer.size(), pipe)) {
    outcome.output.append(buffer.data(), count);
  }
  const int status = ::pclose(pipe);
  outcome.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return outcome;
}

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
  const auto json = nlohmann::json::parse(outcome.output);
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
    EXPECT_THAT(outcome.output, StartsWith("iol: ")) << arguments;
    EXPECT_EQ(std::count(outcome.output.begin(), outcome.output.end(), '\n'), 1) << arguments;
  }
  const Outcome outcome = run_iol("report " + path);
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.output, HasSubstr("records.jsonl:1: not a JSON record"));
}

TEST(ReportCommand, says_which_export_forms_exist) {
  const Outcome outcome = run_iol("report --export vllm x");
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.output, HasSubstr("not available yet"));
}

TEST(ReportCommand, an_output_folder_that_can_not_be_made_exits_1) {
  const TemporaryFolder folder;
  small_run().write(folder.path());
  const Outcome outcome = run_iol("report " + folder.path().string() + " -o /dev/full/report");
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.output, HasSubstr("/dev/full/report"));
}

}  // namespace
}  // namespace iol::report
