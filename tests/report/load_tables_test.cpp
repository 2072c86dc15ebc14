#include "report/load_tables.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "report/report.h"
#include "tests/report/sample_records.h"
#include "tests/temporary_folder.h"

namespace iol::report {
namespace {

using ::testing::HasSubstr;

/// The sample's throughput runs as open loops: 2 streams become 2 requests/s and so on.
class LoadReport : public ::testing::Test {
 protected:
  LoadReport() {
    sample::SampleOptions options;
    options.concurrencies = {2, 8};
    run_ = std::make_unique<sample::SampleRun>(options);
    for (Json& record : run_->records()) {
      if (record["record_type"] == "environment") {
        record["slo"] = {{"ttft_ms", 1000}, {"tpot_ms", 4}};
      }
      Json& where = record.contains("metadata") ? record["metadata"] : record;
      if (where.value("scenario", "") != "throughput") continue;
      const int rate = where["concurrency"];
      where["scenario"] = "poisson " + std::to_string(rate) + " req/s";
      where["concurrency"] = 0;
      if (record["record_type"] != "run") continue;
      record["rate_req_s"] = rate;
      const double seconds =
          (record["end_ns"].get<double>() - record["start_ns"].get<double>()) * 1e-9;
      record["details"]["generator"] = {
          {"lateness_p99_ms", 0.25}, {"processor_s", 0.03 * seconds}, {"in_flight_max", 7}};
    }
  }

  RunReport report() {
    run_->write(folder_.path());
    return summarize(read_records(folder_.path()));
  }

  void add_sweep(const char* subject, double highest, double missed) {
    Json probes = Json::array();
    for (const double rate : {highest, missed}) {
      probes.push_back({{"rate_req_s", rate},
                        {"passed", rate == highest},
                        {"requests", 100},
                        {"failed", 0},
                        {"ttft_p99_ms", 20 * rate},
                        {"tpot_p99_ms", 2.5},
                        {"e2e_p99_ms", 700},
                        {"output_throughput_tok_s", 200 * rate}});
    }
    run_->records().push_back({{"record_type", "sweep"},
                               {"schema_version", 1},
                               {"run_id", run_->records().front()["run_id"]},
                               {"subject", subject},
                               {"arrival", "poisson"},
                               {"seconds_per_probe", 10},
                               {"highest_rate_req_s", highest},
                               {"lowest_missed_rate_req_s", missed},
                               {"probes", probes}});
  }

  TemporaryFolder folder_;
  std::unique_ptr<sample::SampleRun> run_;
};

TEST_F(LoadReport, every_rate_is_a_load_of_its_own) {
  const RunReport run = report();
  const Summary* summary = run.find_summary("iol", "poisson 8 req/s", 0);
  ASSERT_NE(summary, nullptr);
  EXPECT_EQ(summary->rate_req_s, 8);
  EXPECT_EQ(summary->lateness_p99_ms, 0.25);
  EXPECT_NEAR(*summary->generator_processor_share, 0.03, 1e-9);
  // iol's steps take about 1 ms, PyTorch's more than 6: past the 4 ms of the objective.
  EXPECT_EQ(summary->slo_attainment, 1);
  EXPECT_EQ(run.find_summary("pytorch-eager", "poisson 8 req/s", 0)->slo_attainment, 0);
  EXPECT_FALSE(summary->limit_fraction);  // how many sequences a step had isn't known
  EXPECT_NE(run.find_comparison("pytorch-eager", "iol", "poisson 2 req/s", 0, "request_latency"),
            nullptr);
}

TEST_F(LoadReport, stands_in_a_table_with_its_objectives_and_its_generator) {
  const RunReport run = report();
  const Table table = load_table(run);
  ASSERT_EQ(table.rows.size(), 3U * 2);
  EXPECT_THAT(table.caption, HasSubstr("ttft 1.00\u00a0s, tpot 4.00\u00a0ms"));
  const Row& last = table.rows.back();
  EXPECT_EQ(last.cells[0].note, "poisson 8 req/s");
  EXPECT_EQ(last.cells[2].text, "100\u00a0%");
  EXPECT_THAT(last.cells[7].text, HasSubstr("250"));
  EXPECT_TRUE(sweep_table(run).empty());
  EXPECT_EQ(load_charts(run, "").size(), 2U);
}

TEST_F(LoadReport, a_sweep_says_between_which_rates_the_limit_lies) {
  add_sweep("iol", 20, 21);
  const RunReport run = report();
  const Table table = sweep_table(run);
  ASSERT_EQ(table.rows.size(), 1U);
  EXPECT_EQ(table.rows[0].cells[1].text, "20.0");
  EXPECT_EQ(table.rows[0].cells[2].text, "21.0");
  EXPECT_EQ(table.rows[0].cells[4].text, "400\u00a0ms");
  EXPECT_EQ(to_json(run).at("sweeps").size(), 1U);
  const auto charts = load_charts(run, "p-");
  EXPECT_EQ(charts.front().id, "p-rate-ttft");
}

TEST_F(LoadReport, a_late_generator_is_a_warning) {
  for (Json& record : run_->records()) {
    if (record["record_type"] != "run" || !record.contains("details")) continue;
    record["details"]["generator"]["lateness_p99_ms"] = 12.0;
  }
  run_->write(folder_.path());
  write_report(folder_.path(), folder_.path());
  std::ostringstream markdown;
  markdown << std::ifstream(folder_.path() / "report.md").rdbuf();
  EXPECT_THAT(markdown.str(), HasSubstr("**Warning:** Load generator: 99 % of the requests"));
}

TEST_F(LoadReport, a_run_of_loads_alone_has_a_first_sentence) {
  std::erase_if(run_->records(), [](const Json& record) {
    const Json& where = record.contains("metadata") ? record["metadata"] : record;
    return where.value("scenario", "") == "latency";
  });
  run_->write(folder_.path());
  write_report(folder_.path(), folder_.path());
  std::ostringstream markdown;
  markdown << std::ifstream(folder_.path() / "report.md").rdbuf();
  EXPECT_THAT(markdown.str(), HasSubstr("For poisson 2 req/s, iol is **"));
}

TEST_F(LoadReport, probes_are_not_measured_requests) {
  const auto count = report().records.requests.size();
  Json probe;
  for (const Json& record : run_->records()) {
    if (record["record_type"] == "request") probe = record;
  }
  probe["metadata"]["phase"] = "probe";
  run_->records().push_back(probe);
  EXPECT_EQ(report().records.requests.size(), count);
}

}  // namespace
}  // namespace iol::report
