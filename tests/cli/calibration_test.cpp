// `iol build --calibration`, as a user runs it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/run_iol.h"
#include "tests/temporary_folder.h"

namespace iol {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

const std::string kModels = IOL_SOURCE_DIR "/models/";
const std::string kCalibration = " --calibration " + kModels + "calibration.txt";

class CalibratedBuild : public testing::Test {
 protected:
  [[nodiscard]] std::string path(const std::string& name) const {
    return (folder_.path() / name).string();
  }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(path(name), std::ios::binary) << text;
  }
  [[nodiscard]] json manifest(const std::string& name) const {
    return json::parse(std::ifstream(path(name) + "/manifest.json"));
  }
  [[nodiscard]] json eval(const std::string& model, const std::string& text) const {
    const Outcome outcome = run_iol("eval " + model + " --text " + text +
                                    " --reference demo --max-tokens 4096 --window 1024 --json");
    EXPECT_EQ(outcome.exit_code, 0) << outcome.error;
    return outcome.exit_code == 0 ? json::parse(outcome.out) : json();
  }
  TemporaryFolder folder_;
};

TEST_F(CalibratedBuild, is_closer_to_the_model_and_recorded_and_repeatable) {
  const std::string options = " --quant int4 --calibration-tokens 4096 --seed 3" + kCalibration;
  ASSERT_EQ(run_iol("build demo -o " + path("plain") + " --quant int4").exit_code, 0);
  for (const char* name : {"a", "b"}) {
    const Outcome outcome = run_iol("build demo -o " + path(name) + options);
    ASSERT_EQ(outcome.exit_code, 0) << outcome.error;
    EXPECT_EQ(outcome.error, "");
  }
  const json plain = eval(path("plain"), kModels + "heldout.txt");
  const json calibrated = eval(path("a"), kModels + "heldout.txt");
  EXPECT_LT(calibrated["kl_divergence_nats"].get<double>(),
            0.8 * plain["kl_divergence_nats"].get<double>());

  const json record = manifest("a")["calibration"];
  EXPECT_EQ(record["method"], "awq");
  EXPECT_EQ(record["seed"], 3);
  EXPECT_EQ(record["tokens"], 4096);
  EXPECT_EQ(record["text"], "calibration.txt");
  EXPECT_EQ(record["text_sha256"].get<std::string>().size(), 64U);
  EXPECT_EQ(record["matrices"].size(), 32U);
  EXPECT_EQ(manifest("a")["files"], manifest("b")["files"]);
  EXPECT_TRUE(manifest("plain")["calibration"].is_null());
}

TEST_F(CalibratedBuild, eval_warns_of_the_text_that_it_was_calibrated_on) {
  const Outcome built = run_iol("build demo -o " + path("built") +
                                " --quant int8 --calibration-tokens 1024" + kCalibration);
  ASSERT_EQ(built.exit_code, 0) << built.error;
  const std::string rest = " --max-tokens 512 --window 256 --text " + kModels;
  EXPECT_THAT(run_iol("eval " + path("built") + rest + "calibration.txt").error,
              HasSubstr("was calibrated on"));
  EXPECT_EQ(run_iol("eval " + path("built") + rest + "heldout.txt").error, "");
}

TEST_F(CalibratedBuild, refuses_texts_that_are_empty_short_or_not_utf8) {
  write("empty.txt", "");
  write("short.txt", "It was a dark and stormy night.");
  write("latin1.txt", std::string(4000, 'a') + "caf\xe9 noir");
  const auto error_of = [&](const std::string& text) {
    const Outcome outcome =
        run_iol("build demo -o " + path("never") + " --quant int8 --calibration " + path(text));
    EXPECT_EQ(outcome.exit_code, 2) << outcome.error;
    EXPECT_EQ(std::count(outcome.error.begin(), outcome.error.end(), '\n'), 1) << outcome.error;
    return outcome.error;
  };
  EXPECT_THAT(error_of("empty.txt"), HasSubstr("has 0 tokens; at least 512 are needed"));
  EXPECT_THAT(error_of("short.txt"), HasSubstr("at least 512 are needed"));
  EXPECT_THAT(error_of("latin1.txt"), HasSubstr("4003"));
  EXPECT_FALSE(std::filesystem::exists(path("never")));
}

TEST_F(CalibratedBuild, refuses_a_model_that_is_quantized_already) {
  ASSERT_EQ(run_iol("build demo -o " + path("built") + " --quant int8").exit_code, 0);
  const Outcome outcome = run_iol("build " + path("built") + " -o " + path("again") + kCalibration);
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.error, HasSubstr("quantized already"));
}

}  // namespace
}  // namespace iol
