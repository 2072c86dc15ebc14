// `iol audit` as a user runs it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/cli/expect_refused.h"
#include "tests/run_iol.h"
#include "tests/temporary_folder.h"

namespace iol {
namespace {

using ::testing::HasSubstr;

class AuditCommand : public testing::Test {
 protected:
  AuditCommand() {
    std::string text;
    for (int i = 0; i < 400; ++i) {
      text += "{\"timestamp\": " + std::to_string(i * 250) +
              ", \"input_length\": " + std::to_string(600 + i % 7 * 512) +
              ", \"output_length\": " + std::to_string(1 + i % 100) + ", \"hash_ids\": [0, " +
              std::to_string(i + 1) + "]}\n";
    }
    folder_.write("trace.jsonl", text);
  }

  std::string trace() const { return (folder_.path() / "trace.jsonl").string(); }
  TemporaryFolder folder_;
};

TEST_F(AuditCommand, shows_the_workload_and_advice) {
  const Outcome outcome = run_iol("audit " + trace());
  ASSERT_EQ(outcome.exit_code, 0) << outcome.error;
  for (const char* part :
       {"Mooncake", "400 requests", "arrivals: 4.00 a second", "burstiness", "in flight",
        "prefixes: 800 blocks", "advice", "paged KV cache", "iol cost --utilization"}) {
    EXPECT_THAT(outcome.out, HasSubstr(part));
  }
}

TEST_F(AuditCommand, json_is_one_document_with_the_models_advice) {
  const Outcome outcome = run_iol("audit " + trace() + " --json --model demo");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.error;
  const auto json = nlohmann::json::parse(outcome.out);
  EXPECT_EQ(json.at("requests"), 400);
  EXPECT_EQ(json.at("output").at("p50"), 50);
  EXPECT_DOUBLE_EQ(json.at("prefixes").at("shared").get<double>(), 399.0 / 800);
  for (const auto& advice : json.at("advice")) {
    if (advice.at("lever") == "quantized weights") {
      EXPECT_GT(advice.at("factor_at_most").get<double>(), 1);
    }
  }
}

TEST_F(AuditCommand, writes_itself_as_a_page) {
  const std::string page = (folder_.path() / "audit.html").string();
  const Outcome outcome = run_iol("audit " + trace() + " --html " + page);
  ASSERT_EQ(outcome.exit_code, 0) << outcome.error;
  std::ostringstream html;
  html << std::ifstream(page).rdbuf();
  for (const char* part :
       {"<strong>400 requests</strong>", "paged KV cache", "made from the trace"}) {
    EXPECT_THAT(html.str(), HasSubstr(part));
  }
  EXPECT_EQ(html.str().find("records.jsonl"), std::string::npos);
  EXPECT_EQ(run_iol("audit " + trace() + " --html /no/such/folder/x.html").exit_code, 1);
}

TEST_F(AuditCommand, refuses_bad_input_in_one_line) {
  folder_.write("broken.csv",
                "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,-1,2\n");
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "trace"},
      {"/no/such.csv", "/no/such.csv: no such file"},
      {(folder_.path() / "broken.csv").string(), "broken.csv:2: '-1' is no number of tokens"},
      {trace() + " --tpot-ms nan", "--tpot-ms nan"},
      {trace() + " --ttft-ms -1", "--ttft-ms -1"},
      {trace() + " --bytes-per-token 0", "--bytes-per-token 0"},
      {trace() + " --model /no/such", "/no/such"},
  };
  for (const auto& [arguments, message] : cases) expect_refused("audit " + arguments, message);
}

}  // namespace
}  // namespace iol
