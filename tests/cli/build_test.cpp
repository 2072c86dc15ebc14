// `iol build`, and engine directories as MODEL, as a user runs them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "tests/run_iol.h"
#include "tests/temporary_folder.h"

namespace iol {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

const std::string kText = " --text " IOL_SOURCE_DIR "/models/heldout.txt";

class Build : public testing::Test {
 protected:
  [[nodiscard]] std::string directory() const { return (folder_.path() / "built").string(); }
  void build(const std::string& options) const {
    const Outcome outcome = run_iol("build demo -o " + directory() + " " + options);
    ASSERT_EQ(outcome.exit_code, 0) << outcome.error;
    EXPECT_EQ(outcome.error, "");
  }
  [[nodiscard]] std::size_t num_leavings() const {
    return static_cast<std::size_t>(
        std::distance(std::filesystem::directory_iterator(folder_.path()), {}));
  }
  TemporaryFolder folder_;
};

TEST_F(Build, every_format_generates_what_quantizing_at_load_does) {
  const std::string arguments = " -p 'It was a dark' -n 24 --json --logprobs 3";
  for (const char* format : {"none", "int8", "int8-wo", "fp8", "int4 --quant-group 64"}) {
    const std::string quant = format;
    build("--quant " + quant);
    const json built =
        json::parse(run_iol("generate " + directory() + arguments + " --verify").out);
    const json loaded = json::parse(run_iol("generate demo" + arguments + " --quant " + quant).out);
    EXPECT_EQ(built["tokens"], loaded["tokens"]) << quant;
    EXPECT_EQ(built["logprobs"], loaded["logprobs"]) << quant;
    std::filesystem::remove_all(directory());
  }
}

TEST_F(Build, eval_and_plan_say_what_the_directory_holds) {
  build("--quant int8");
  const Outcome outcome = run_iol("eval " + directory() + kText +
                                  " --reference demo --max-tokens 4096 --window 512 --json");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.error;
  const json result = json::parse(outcome.out);
  EXPECT_EQ(result["quant"], "int8");
  EXPECT_GT(result["kl_divergence_nats"], 1e-6);
  EXPECT_LT(result["kl_divergence_nats"], 0.01);
  for (const char* name :
       {"perplexity", "perplexity_ratio", "kl_divergence_nats", "top1_agreement"}) {
    const std::string ci = name == std::string("kl_divergence_nats") ? "kl_divergence_ci95_nats"
                                                                     : std::string(name) + "_ci95";
    ASSERT_EQ(result[ci].size(), 2) << ci;
    EXPECT_LE(result[ci][0], result[name]) << name;
    EXPECT_GE(result[ci][1], result[name]) << name;
  }
  const json plan = json::parse(run_iol("plan " + directory() + " --json").out);
  const json same = json::parse(run_iol("plan demo --quant int8 --json").out);
  EXPECT_EQ(plan["quant"], "int8");
  EXPECT_EQ(plan["weights_bytes"], same["weights_bytes"]);
}

TEST_F(Build, options_may_not_change_what_was_built) {
  build("--quant int8");
  for (const char* quant : {"none", "fp8", "int4"}) {
    const Outcome outcome =
        run_iol("generate " + directory() + " -p x -n 2 --quant " + std::string(quant));
    EXPECT_EQ(outcome.exit_code, 2) << quant;
    EXPECT_THAT(outcome.error, HasSubstr("holds int8 weights"));
    EXPECT_EQ(std::count(outcome.error.begin(), outcome.error.end(), '\n'), 1) << outcome.error;
  }
  EXPECT_EQ(run_iol("generate " + directory() + " -p x -n 2 --quant int8").exit_code, 0);
}

TEST_F(Build, a_full_disk_is_one_line_and_leaves_nothing) {
  const Outcome outcome = run_iol("build demo -o " + directory() + " --quant int8",
                                  "ulimit -f 8000;");  // less than the weights, more than the rest
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.error, HasSubstr("File too large; nothing was kept"));
  EXPECT_EQ(std::count(outcome.error.begin(), outcome.error.end(), '\n'), 1) << outcome.error;
  EXPECT_EQ(num_leavings(), 0);
}

TEST_F(Build, a_disk_without_room_is_one_line_and_leaves_nothing) {
  if (::mount("tmpfs", folder_.path().c_str(), "tmpfs", 0, "size=4m") != 0)
    GTEST_SKIP() << "a file system can be mounted by root only";
  const Outcome outcome = run_iol("build demo -o " + directory() + " --quant int8");
  const auto leavings = num_leavings();
  ::umount(folder_.path().c_str());
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.error, HasSubstr("No space left on device; nothing was kept"));
  EXPECT_EQ(leavings, 0);
}

TEST_F(Build, stops_at_ctrl_c_and_leaves_nothing) {
  // Later and later, until the signal finds the build at work: neither still starting, when the
  // signal simply ends it, nor done.
  for (const char* seconds : {"0.02", "0.04", "0.08", "0.15", "0.3", "0.6", "1.2"}) {
    const Outcome outcome = run_iol("build demo -o " + directory() + " --quant int4",
                                    std::string("timeout --preserve-status -s INT ") + seconds);
    if (outcome.exit_code == 0) break;
    EXPECT_EQ(num_leavings(), 0) << seconds << " s: " << outcome.error;
    if (outcome.exit_code != 130 || outcome.error.empty()) continue;
    EXPECT_THAT(outcome.error, HasSubstr("nothing was kept"));
    return;
  }
  GTEST_SKIP() << "no signal found the build at work";
}

TEST_F(Build, bench_runs_a_directory_and_measures_it_against_its_source) {
  build("--quant int8");
  const std::string results = (folder_.path() / "results").string();
  const Outcome outcome = run_iol("bench " + directory() +
                                  " --scenario latency --requests 1 --repeat 2 --input-tokens 8 "
                                  "--output-tokens 4 --json -o " +
                                  results);
  ASSERT_EQ(outcome.exit_code, 0) << outcome.error;
  EXPECT_THAT(outcome.error, HasSubstr("an engine directory, which PyTorch can't load"));
  const json summary = json::parse(outcome.out);
  ASSERT_EQ(summary.at("qualities").size(), 1);
  const json& quality = summary["qualities"][0];
  EXPECT_GT(quality.at("kl_divergence_nats"), 1e-6);
  EXPECT_EQ(quality.at("perplexity_ratio_ci95").size(), 2);
  const Outcome refused =
      run_iol("bench " + directory() + " --engines pytorch -o " + results + "2");
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_THAT(refused.error, HasSubstr("--engines pytorch: "));
}

TEST_F(Build, a_table_of_formats_has_a_row_for_each) {
  const std::string arguments =
      "eval demo" + kText + " --formats int8,int4:64 --rounds 2 --max-tokens 3000 --window 512";
  const Outcome outcome = run_iol(arguments + " --json");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.error;
  const json table = json::parse(outcome.out);
  ASSERT_EQ(table["formats"].size(), 3);
  EXPECT_EQ(table["formats"][0]["format"], "none");
  EXPECT_EQ(table["formats"][2]["format"], "int4:64");
  EXPECT_LT(table["formats"][2]["bytes_per_token"], table["formats"][1]["bytes_per_token"]);
  EXPECT_LT(table["formats"][2]["weights_bytes"], table["formats"][1]["weights_bytes"]);
  for (const auto& row : table["formats"]) {
    EXPECT_GT(row["limit_fraction"], 0);
    EXPECT_EQ(row["decode_tok_s_rounds"].size(), 2);
    EXPECT_GT(row["quality"]["perplexity"], 1);
  }
  EXPECT_EQ(table["formats"][1]["quality"]["perplexity_ratio_ci95"].size(), 2);
  EXPECT_FALSE(table["machine"]["cpu_model"].is_null());
  const std::string markdown = run_iol(arguments + " --markdown").out;
  EXPECT_THAT(markdown, HasSubstr("| --- | ---: |"));
  EXPECT_THAT(markdown, HasSubstr("| int4:64"));
}

}  // namespace
}  // namespace iol
