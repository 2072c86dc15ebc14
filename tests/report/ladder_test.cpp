#include "report/ladder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "report/report.h"
#include "report/study_claims.h"
#include "tests/report/sample_records.h"
#include "tests/temporary_folder.h"

namespace iol::report {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string read(const std::filesystem::path& file) {
  std::ostringstream text;
  text << std::ifstream(file).rdbuf();
  return text.str();
}

/// Four rungs: a baseline, one that helps, one that changes nothing, one that slows down.
class LadderReport : public ::testing::Test {
 protected:
  LadderReport() {
    sample::SampleOptions options;
    options.subjects = {{"pytorch-eager", "PyTorch eager", "pytorch", 6.0, 0.2, 11.0, 600e6},
                        {"iol-in-flight", "iol-in-flight", "iol", 1.0, 0.05, 3.0, 140e6},
                        {"iol-paged", "iol-paged", "iol", 1.0, 0.05, 3.0, 140e6},
                        {"iol-int8", "iol-int8", "iol", 1.5, 0.08, 3.0, 100e6}};
    options.concurrencies = {1, 16};
    run_ = std::make_unique<sample::SampleRun>(options);
    Json rungs = Json::array();
    for (const auto& [subject, label, lever] : std::vector<std::array<const char*, 3>>{
             {"pytorch-eager", "PyTorch eager", "baseline"},
             {"iol-in-flight", "+ in-flight batching", "in_flight_batching"},
             {"iol-paged", "+ paged KV cache", "paged_kv_cache"},
             {"iol-int8", "+ int8 weights", "quantized_weights"}}) {
      rungs.push_back(
          {{"subject", subject}, {"label", label}, {"change", "this alone"}, {"lever", lever}});
    }
    for (Json& record : run_->records()) {
      if (record["record_type"] == "environment") {
        record["ladder"] = {{"kv_cache_bytes", 5e6}, {"kv_sequences", 4}, {"rungs", rungs}};
      }
      if (record["record_type"] == "subject" && record["name"] == "iol-int8") {
        record["memory"]["weights_bytes"] = 20'160'000;  // 60 % of the others'
      }
      if (record["record_type"] != "run") continue;
      const bool paged = record["subject"] != "iol-in-flight";
      record["details"]["engine"]["load"] = {{"running_mean", paged ? 12.0 : 4.0},
                                             {"kv_blocks_used_mean", paged ? 60.0 : 80.0},
                                             {"kv_block_tokens", 16}};
    }
  }

  RunReport report() {
    run_->write(folder_.path());
    return summarize(read_records(folder_.path()));
  }

  TemporaryFolder folder_;
  std::unique_ptr<sample::SampleRun> run_;
};

TEST_F(LadderReport, every_rung_is_held_against_the_one_before) {
  const RunReport run = report();
  const auto ladder = find_ladder(run);
  ASSERT_TRUE(ladder);
  ASSERT_EQ(ladder->rungs.size(), 4U);
  EXPECT_EQ(ladder->streams, 16);
  EXPECT_EQ(ladder->rungs[0].throughput_gain, nullptr);
  for (std::size_t i = 1; i < 4; ++i) {
    const Rung& rung = ladder->rungs[i];
    EXPECT_EQ(rung.throughput_gain->baseline, ladder->rungs[i - 1].subject->name);
    EXPECT_EQ(rung.throughput_gain->concurrency, 16);
    EXPECT_EQ(rung.latency_gain->scenario, "latency");
    EXPECT_EQ(rung.total_throughput_gain->baseline, "pytorch-eager");
    EXPECT_DOUBLE_EQ(*rung.cost_index, 100 / rung.total_throughput_gain->gain);
  }
  // Steps of 9.0, 1.75, 1.75 and 2.7 ms at 16 streams.
  EXPECT_NEAR(ladder->rungs[1].throughput_gain->gain, 9.0 / 1.75, 0.3);
}

TEST_F(LadderReport, a_rung_that_does_not_help_says_so) {
  const RunReport run = report();
  const auto ladder = find_ladder(run);
  ASSERT_TRUE(ladder);
  EXPECT_EQ(ladder->rungs[0].verdict, RungVerdict::kFirst);
  EXPECT_EQ(ladder->rungs[1].verdict, RungVerdict::kHelps);
  EXPECT_EQ(ladder->rungs[2].verdict, RungVerdict::kNoDifference);
  EXPECT_EQ(ladder->rungs[3].verdict, RungVerdict::kSlower);
}

TEST_F(LadderReport, too_few_repetitions_decide_nothing) {
  std::erase_if(run_->records(), [](const Json& record) {
    const Json& where = record.contains("metadata") ? record["metadata"] : record;
    return where.value("repetition", 0) >= 3;
  });
  const RunReport run = report();
  const auto ladder = find_ladder(run);
  ASSERT_TRUE(ladder);
  EXPECT_EQ(ladder->rungs[1].verdict, RungVerdict::kUnknown);
  EXPECT_EQ(ladder->rungs[3].verdict, RungVerdict::kUnknown);
}

TEST_F(LadderReport, without_a_load_one_stream_decides) {
  std::erase_if(run_->records(), [](const Json& record) {
    const Json& where = record.contains("metadata") ? record["metadata"] : record;
    return where.value("scenario", "") == "throughput" || where.value("concurrency", 1) > 1;
  });
  const RunReport run = report();
  const auto ladder = find_ladder(run);
  ASSERT_TRUE(ladder);
  ASSERT_EQ(ladder->rungs.size(), 4U);
  EXPECT_EQ(ladder->rungs[1].throughput_gain, nullptr);
  EXPECT_EQ(ladder->rungs[1].verdict, RungVerdict::kHelps);
  EXPECT_EQ(ladder->rungs[2].verdict, RungVerdict::kNoDifference);
  EXPECT_EQ(ladder->rungs[3].verdict, RungVerdict::kSlower);
  write_report(folder_.path(), folder_.path());
  const std::string markdown = read(folder_.path() / "report.md");
  EXPECT_THAT(markdown, HasSubstr("the whole ladder answers a request"));
  EXPECT_THAT(markdown, HasSubstr("| Rung | Verdict | Request latency, one stream, p50 |\n"));
}

TEST_F(LadderReport, the_claims_stand_beside_what_was_measured) {
  const RunReport run = report();
  const auto ladder = find_ladder(run);
  ASSERT_TRUE(ladder);
  std::map<std::string, StudyClaim> claims;
  for (const StudyClaim& claim : study_claims(run, *ladder)) {
    EXPECT_FALSE(claim.measured.empty()) << claim.claim;
    claims[claim.claim] = claim;
  }
  // 80 blocks of 16 tokens for 4 sequences; 60 for 12.
  EXPECT_THAT(claims["Paged KV cache: memory"].measured, HasSubstr("75 %: 320 → 80 tokens"));
  EXPECT_THAT(claims["Paged KV cache: cost"].claimed, HasSubstr("1.32"));
  EXPECT_THAT(claims["Paged KV cache: cost"].measured, HasSubstr("4.0 → 12.0 sequences"));
  EXPECT_THAT(claims["FP8 or INT8 weights: memory"].measured, HasSubstr("-40 %"));
  EXPECT_THAT(claims["FP8 or INT8 weights: cost"].claimed, HasSubstr("2.6"));
  EXPECT_EQ(claims["Speculative decoding"].measured, "speculation was not measured");
  EXPECT_THAT(claims["All levers: latency of a request"].claimed, HasSubstr("2.41"));
  EXPECT_THAT(claims["All levers: tokens/s"].claimed, HasSubstr("3.15"));
}

TEST_F(LadderReport, stands_on_the_page_and_in_the_summary) {
  run_->write(folder_.path());
  write_report(folder_.path(), folder_.path());
  const std::string html = read(folder_.path() / "report.html");
  EXPECT_THAT(html, HasSubstr("<h2>The ladder</h2>"));
  EXPECT_THAT(html, HasSubstr("<canvas id=\"ladder-throughput\" role=\"img\""));
  EXPECT_THAT(html, HasSubstr("paged KV cache and int8 weights did not help here"));
  const std::string markdown = read(folder_.path() / "report.md");
  EXPECT_THAT(markdown, HasSubstr("does not help here"));
  EXPECT_THAT(markdown, HasSubstr("+ paged KV cache         ████"));
  EXPECT_THAT(markdown, HasSubstr("Why they differ"));
  const Json summary = Json::parse(read(folder_.path() / "summary.json"));
  ASSERT_EQ(summary["ladder"]["rungs"].size(), 4U);
  EXPECT_EQ(summary["ladder"]["rungs"][2]["verdict"], "does not help here");
  EXPECT_EQ(summary["ladder"]["rungs"][0]["throughput_over_rung_before"], nullptr);
}

TEST_F(LadderReport, cost_records_become_the_cost_of_a_rung) {
  Json cost = {{"record_type", "cost"},
               {"schema_version", 1},
               {"run_id", run_->records().front()["run_id"]},
               {"subject", "iol-paged"},
               {"usd_per_million_output_tokens", 0.25}};
  run_->records().push_back(cost);
  const RunReport run = report();
  const auto ladder = find_ladder(run);
  ASSERT_TRUE(ladder);
  EXPECT_EQ(ladder->find("paged_kv_cache")->usd_per_million, 0.25);
  EXPECT_FALSE(ladder->find("in_flight_batching")->usd_per_million);
}

TEST_F(LadderReport, a_rung_that_was_left_out_is_said_and_the_next_is_held_against_the_one_before) {
  auto& records = run_->records();
  std::erase_if(records, [](const Json& record) {
    const auto& where = record.contains("metadata") ? record["metadata"] : record;
    return record["record_type"] != "environment" && where.value("subject", "") == "iol-in-flight";
  });
  records.push_back({{"record_type", "left_out"},
                     {"schema_version", 1},
                     {"run_id", records.front()["run_id"]},
                     {"subject", "iol-in-flight"},
                     {"why", "subject iol-in-flight was killed by signal 9 while loading"}});
  const RunReport run = report();
  EXPECT_EQ(run.records.find_subject("iol-in-flight"), nullptr);
  EXPECT_EQ(run.records.environment.not_measured.back().what, "iol-in-flight");
  const auto ladder = find_ladder(run);
  ASSERT_TRUE(ladder);
  ASSERT_EQ(ladder->rungs.size(), 3U);
  EXPECT_EQ(ladder->rungs[1].throughput_gain->baseline, "pytorch-eager");
}

TEST(Ladder, is_absent_from_other_runs) {
  TemporaryFolder folder;
  sample::SampleRun({}).write(folder.path());
  EXPECT_FALSE(find_ladder(summarize(read_records(folder.path()))));
}

}  // namespace
}  // namespace iol::report
