// `iol compare` as a user runs it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "tests/cli/expect_refused.h"
#include "tests/report/sample_records.h"
#include "tests/run_iol.h"
#include "tests/temporary_folder.h"

namespace iol {
namespace {

using ::testing::HasSubstr;

/// A made-up run of one subject; `slower` stretches every time of it.
void write_run(const TemporaryFolder& folder, const std::string& run_id, double slower,
               const std::string& model = "books-16m") {
  report::sample::SampleOptions options;
  options.run_id = run_id;
  options.subjects = {{"iol", "iol", "iol", 0.82 * slower, 0.045 * slower, 3.1 * slower, 143e6}};
  options.concurrencies = {4};
  options.noise = 0.002;
  options.drift = 0;
  options.output_tokens = 40;
  options.model_name = model;
  report::sample::SampleRun(options).write(folder.path());
}

class CompareCommand : public testing::Test {
 protected:
  CompareCommand() {
    write_run(base_, "monday", 1);
    write_run(next_, "tuesday", 1.1);
  }

  std::string both() const { return base_.path().string() + " " + next_.path().string(); }

  TemporaryFolder base_;
  TemporaryFolder next_;
};

TEST_F(CompareCommand, shows_ratios_with_intervals) {
  const Outcome outcome = run_iol("compare " + both());
  EXPECT_EQ(outcome.exit_code, 0) << outcome.error;
  EXPECT_THAT(outcome.out, HasSubstr("BASE monday"));
  EXPECT_THAT(outcome.out, HasSubstr("throughput"));
  EXPECT_THAT(outcome.out, HasSubstr("not interleaved"));
}

TEST_F(CompareCommand, exits_3_when_a_gate_failed) {
  const Outcome failed =
      run_iol("compare " + both() + " --fail-on 'tpot_p50>3%' --concurrency 4 --json");
  EXPECT_EQ(failed.exit_code, 3) << failed.error;
  const auto json = nlohmann::json::parse(failed.out);
  EXPECT_TRUE(json.at("failed"));
  EXPECT_NEAR(json.at("comparisons").at(0).at("ratio").get<double>(), 1.1, 0.01);
  const Outcome passed = run_iol("compare " + both() + " --fail-on 'tpot_p50>20%' --concurrency 4");
  EXPECT_EQ(passed.exit_code, 0) << passed.error;
  EXPECT_THAT(passed.out, HasSubstr("passed  tpot_p50>20%"));
}

TEST_F(CompareCommand, holds_two_subjects_of_one_interleaved_bench_against_each_other) {
  const TemporaryFolder both;
  report::sample::SampleOptions options;
  options.subjects = {{"old", "old", "iol", 0.82, 0.045, 3.1, 143e6},
                      {"new", "new", "iol", 0.90, 0.050, 3.4, 143e6}};
  options.concurrencies = {4};
  options.noise = 0.002;
  options.output_tokens = 40;
  report::sample::SampleRun(options).write(both.path());
  const std::string command = "compare " + both.path().string() + " --concurrency 4 --between ";
  const Outcome failed = run_iol(command + "old,new --fail-on 'tpot_p50>3%' --json");
  EXPECT_EQ(failed.exit_code, 3) << failed.error;
  const auto json = nlohmann::json::parse(failed.out);
  EXPECT_EQ(json.at("comparisons").at(0).at("subject"), "new over old");
  EXPECT_NEAR(json.at("comparisons").at(0).at("ratio").get<double>(), 1.1, 0.02);
  EXPECT_EQ(failed.out.find("not interleaved"), std::string::npos);
  EXPECT_EQ(run_iol(command + "new,old --fail-on 'tpot_p50>3%'").exit_code, 0);
}

TEST_F(CompareCommand, refuses_bad_input_in_one_line) {
  const TemporaryFolder other;
  write_run(other, "wednesday", 1);
  std::string text = read_text(other.path() / "records.jsonl");
  for (auto place = text.find("5f0c"); place != std::string::npos; place = text.find("5f0c"))
    text.replace(place, 4, "beef");
  other.write("records.jsonl", text);
  const std::string base = base_.path().string();
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "base"},
      {base + " /no/such/folder", "/no/such/folder: no such results folder"},
      {base + " " + base, "both are run 'monday'"},
      {base, "give two results folders, or one and --between"},
      {both() + " --between iol,vllm", "--between: takes two subjects of one results folder"},
      {base + " --between iol,iol", "both are run 'monday, iol'"},
      {base + " --between iol,vllm", "no subject 'vllm'; it has iol"},
      {base + " " + other.path().string(), "ran other models"},
      {both() + " --fail-on tpot", "expected METRIC>PCT%"},
      {both() + " --subject vllm", "no subject under the same scenario"},
      {both() + " --fail-on 'goodput>1%'", "has no goodput"},
  };
  for (const auto& [arguments, message] : cases) expect_refused("compare " + arguments, message);
}

}  // namespace
}  // namespace iol
