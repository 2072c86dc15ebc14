// `iol cost` as a user runs it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/cli/expect_refused.h"
#include "tests/report/sample_records.h"
#include "tests/run_iol.h"
#include "tests/temporary_folder.h"

namespace iol {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

void expect_cost_refused(const std::string& arguments, const std::string& message) {
  expect_refused("cost " + arguments, message);
}

/// A results folder of a made-up run, with its report.
class CostOfResults : public testing::Test {
 protected:
  CostOfResults() {
    report::sample::SampleOptions options;
    options.concurrencies = {1, 4};
    options.repetitions = 2;
    report::sample::SampleRun(options).write(folder_.path());
    EXPECT_EQ(run_iol("report " + path()).exit_code, 0);
  }

  std::string path() const { return folder_.path().string(); }
  json read(const std::string& name) const {
    std::ifstream stream(folder_.path() / name);
    return json::parse(stream);
  }

  TemporaryFolder folder_;
};

TEST_F(CostOfResults, takes_throughput_from_the_largest_load) {
  const Outcome outcome = run_iol("cost " + path() + " --hardware h100 --json");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.error;
  const json answer = json::parse(outcome.out);
  const json summaries = read("summary.json").at("summaries");
  int found = 0;
  for (const json& cost : answer.at("costs")) {
    EXPECT_EQ(cost.at("load"), "throughput, concurrency 4");
    for (const json& summary : summaries) {
      if (summary.at("subject") != cost.at("subject") || summary.at("scenario") != "throughput" ||
          summary.at("concurrency") != 4) {
        continue;
      }
      ++found;
      const double tok_s = summary.at("output_throughput_tok_s");
      EXPECT_EQ(cost.at("output_throughput_tok_s").get<double>(), tok_s);
      const double hourly = cost.at("usd_per_device_hour");
      EXPECT_NEAR(cost.at("usd_per_million_output_tokens").get<double>(),
                  hourly / (tok_s * 3600 / 1e6) / 0.5, 1e-9);
    }
  }
  EXPECT_EQ(found, static_cast<int>(answer.at("costs").size()));
}

TEST_F(CostOfResults, record_puts_the_costs_into_the_results_once) {
  for (int time = 0; time < 2; ++time) {
    const Outcome outcome = run_iol("cost " + path() + " --usd-per-hour 0.5 --record --quiet");
    ASSERT_EQ(outcome.exit_code, 0) << outcome.error;
    const json costs = read("summary.json").at("costs");
    ASSERT_EQ(costs.size(), 3U);  // one price, three subjects
    EXPECT_EQ(costs[0].at("record_type"), "cost");
    EXPECT_EQ(costs[0].at("run_id"), read("summary.json").at("environment").at("run_id"));
    EXPECT_EQ(costs[0].at("cost_index"), 100);
  }
}

TEST_F(CostOfResults, asks_what_they_were_measured_on) {
  expect_cost_refused(path(), "--hardware h100|h200|b200, or --usd-per-hour");
}

TEST_F(CostOfResults, without_throughput_says_so) {
  json summary = read("summary.json");
  for (json& entry : summary.at("summaries")) entry["output_throughput_tok_s"] = nullptr;
  std::ofstream(folder_.path() / "summary.json") << summary;
  expect_cost_refused(path() + " --hardware h100", "output_throughput_tok_s");
}

TEST_F(CostOfResults, of_a_newer_schema_are_refused) {
  json summary = read("summary.json");
  summary["environment"]["schema_version"] = 2;
  std::ofstream(folder_.path() / "summary.json") << summary;
  expect_cost_refused(path() + " --hardware h100", "schema version 2");
}

TEST_F(CostOfResults, with_a_throughput_below_0_are_refused) {
  json summary = read("summary.json");
  summary["summaries"][0]["output_throughput_tok_s"] = -3;
  std::ofstream(folder_.path() / "summary.json") << summary;
  expect_cost_refused(path() + " --hardware h100", "output_throughput_tok_s must be above 0");
}

TEST(CostCommand, of_a_given_throughput) {
  const Outcome outcome = run_iol(
      "cost --tok-s 2723 --baseline-tok-s 864 --monthly-budget 10000 --currency EUR --json");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.error;
  const json answer = json::parse(outcome.out);
  const json& saving = answer.at("budget").at("savings").at(1);
  EXPECT_NEAR(saving.at("yearly_saving").get<double>(), 120'000 * (1 - 864.0 / 2723), 1e-6);
  EXPECT_EQ(answer.at("assumptions").at("utilization"), 0.5);
}

TEST(CostCommand, text_states_assumptions_and_sources) {
  const Outcome outcome = run_iol("cost --tok-s 1000");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.error;
  for (const char* part : {"on-demand", "colocation", "on-premises", "assumed; --utilization",
                           "What moves it most", "2025-08-31", "prices.toml"}) {
    EXPECT_THAT(outcome.out, HasSubstr(part));
  }
}

TEST(CostCommand, takes_the_utilization_from_a_trace) {
  const TemporaryFolder folder;
  // 400 output tokens over 4 minutes, half of them in one: mean 100 a minute, busiest 200.
  folder.write("trace.csv",
               "Timestamp,Request tokens,Response tokens\n0,1,100\n60,1,200\n120,1,50\n240,1,50\n");
  const std::string trace = (folder.path() / "trace.csv").string();
  const Outcome outcome = run_iol("cost --tok-s 1000 --json --trace " + trace);
  ASSERT_EQ(outcome.exit_code, 0) << outcome.error;
  const json answer = json::parse(outcome.out);
  EXPECT_NEAR(answer.at("assumptions").at("utilization").get<double>(), 0.5, 1e-9);
  EXPECT_THAT(run_iol("cost --tok-s 1000 --trace " + trace).out, HasSubstr("(--utilization)"));
  expect_cost_refused("--tok-s 10 --trace /no/such.csv", "/no/such.csv: no such file");
  expect_cost_refused("--tok-s 10 --utilization 50 --trace " + trace, "give one of the two");
}

TEST(CostCommand, recomputes_the_study) {
  const Outcome outcome = run_iol("cost --study");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.error;
  for (const char* part : {"275,414 USD", "48,000 EUR", "DOES NOT FOLLOW", "31.7"})
    EXPECT_THAT(outcome.out, HasSubstr(part));
}

TEST(CostCommand, refuses_bad_input_in_one_line) {
  expect_cost_refused("", "give either a results folder or --tok-s");
  expect_cost_refused("--tok-s -5", "--tok-s -5: expected");
  expect_cost_refused("--tok-s nan", "--tok-s nan: expected");
  expect_cost_refused("--tok-s inf", "--tok-s inf: expected");
  expect_cost_refused("--tok-s 0", "--tok-s 0: expected");
  expect_cost_refused("--tok-s 10 --utilization 101", "--utilization 101: expected");
  expect_cost_refused("--tok-s 10 --utilization 0", "--utilization 0: expected");
  expect_cost_refused("--tok-s 10 --years 0", "--years 0: expected");
  expect_cost_refused("--tok-s 10 --currency XYZ", "'XYZ'; there are: USD, EUR, GBP");
  expect_cost_refused("--tok-s 10 --region mars", "no region 'mars'");
  expect_cost_refused("--tok-s 10 --hardware abacus", "no hardware 'abacus'");
  expect_cost_refused("--tok-s 10 --prices /no/such.toml", "/no/such.toml: no such price file");
  expect_cost_refused("--tok-s 10 --project-cost 5", "needs --monthly-budget");
  expect_cost_refused("--tok-s 10 --record", "--record: goes with a results folder");
  expect_cost_refused("/no/such/folder --hardware h100", "/no/such/folder: no such results folder");
  expect_cost_refused("--study --tok-s 10", "--study");
}

TEST(CostCommand, takes_another_price_file) {
  const TemporaryFolder folder;
  std::ifstream shipped(IOL_SOURCE_DIR "/economics/prices.toml");
  std::string text((std::istreambuf_iterator<char>(shipped)), {});
  const auto place = text.find("value = 3.93");
  ASSERT_NE(place, std::string::npos);
  folder.write("mine.toml", text.replace(place, 12, "value = 2.00"));
  const std::string mine = (folder.path() / "mine.toml").string();
  const json answer = json::parse(run_iol("cost --tok-s 1000 --json --prices " + mine).out);
  EXPECT_EQ(answer.at("offers").at(0).at("usd_per_device_hour"), 2.0);
  EXPECT_EQ(answer.at("price_file"), mine);
  folder.write("bad.toml", text.replace(place, 12, "value = -2.0"));
  expect_cost_refused("--tok-s 10 --prices " + (folder.path() / "bad.toml").string(),
                      "rented[1].price.value: -2 must be a finite number above 0");
}

}  // namespace
}  // namespace iol
