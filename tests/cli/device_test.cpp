// `--device` as a user meets it, on machines with and without a GPU.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "backend/cuda/cuda_device.h"
#include "backend/device.h"
#include "tests/run_iol.h"

namespace iol {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;

bool has_gpu() { return !cuda_status().devices.empty(); }

TEST(Device, names_are_read_back) {
  for (const Device& device : {Device{DeviceKind::kAuto, 0}, Device{DeviceKind::kCpu, 0},
                               Device{DeviceKind::kCuda, 0}, Device{DeviceKind::kCuda, 12}})
    EXPECT_EQ(parse_device(device_name(device)), device);
  EXPECT_EQ(parse_device("cuda"), (Device{DeviceKind::kCuda, 0}));
  for (const char* text : {"", "cpu:0", "cuda:", "cuda: 1", "cuda:+1", "cuda:-1", "cuda:1 ", "gpu"})
    EXPECT_EQ(parse_device(text), std::nullopt) << text;
}

/// What the step's buffers take tells how many tokens it may have.
TEST(Device, chooses_the_tokens_of_a_step) {
  const auto activations = [](const std::string& options) {
    return json::parse(run_iol("plan demo --json" + options).out).at("activations_bytes");
  };
  EXPECT_EQ(activations(" --device cpu"), activations(" --device cpu --max-step-tokens 512"));
  EXPECT_EQ(activations(" --device cpu"), activations(" --device cpu --max-step-tokens 0"));
  EXPECT_LT(activations(" --device cpu"), activations(" --device cpu --max-step-tokens 2048"));
  if (!has_gpu()) return;
  EXPECT_EQ(activations(" --device cuda"), activations(" --device cuda --max-step-tokens 2048"));
  EXPECT_GT(activations(" --device cuda"), activations(" --device cuda --max-step-tokens 512"));
}

TEST(Device, every_command_refuses_a_gpu_that_is_not_there_and_says_why) {
  if (has_gpu()) GTEST_SKIP() << "this machine has a GPU";
  ASSERT_NE(cuda_status().reason, "");
  for (const std::string command : {"generate demo -p x", "plan demo", "doctor", "bench demo",
                                    "eval demo --text " IOL_SOURCE_DIR "/models/heldout.txt"}) {
    for (const std::string device : {"cuda", "cuda:3"}) {
      const Outcome outcome = run_iol(command + " --device " + device);
      EXPECT_EQ(outcome.exit_code, 2) << command;
      EXPECT_EQ(outcome.out, "") << command;
      const std::string name = device == "cuda" ? "cuda:0" : device;
      EXPECT_EQ(outcome.error,
                "iol: --device " + name + ": " + cuda_status().reason + "; use --device cpu\n");
    }
  }
}

TEST(Device, the_reason_is_the_driver_or_the_build) {
  if (has_gpu()) GTEST_SKIP() << "this machine has a GPU";
  EXPECT_THAT(cuda_status().reason,
              MatchesRegex("no NVIDIA driver on this machine|no NVIDIA GPU on this machine|this "
                           "build has no CUDA backend|the NVIDIA driver supports.*|CUDA: .*|.*runs "
                           "on 8.0 to 9.0"));
}

TEST(Device, auto_is_the_gpu_where_there_is_one_and_the_cpu_elsewhere) {
  const auto plan = json::parse(run_iol("plan demo --json").out);
  EXPECT_EQ(plan.at("device"), has_gpu() ? "cuda:0" : "cpu");
  EXPECT_EQ(json::parse(run_iol("plan demo --device cpu --json").out).at("device"), "cpu");
}

TEST(Device, doctor_lists_gpus_or_says_why_there_are_none) {
  const auto gpu = json::parse(run_iol("doctor --quick --json").out).at("gpu");
  if (!has_gpu()) {
    EXPECT_EQ(gpu.at("reason"), cuda_status().reason);
    EXPECT_TRUE(gpu.at("devices").empty());
    EXPECT_THAT(run_iol("doctor --quick").out, HasSubstr(cuda_status().reason));
    return;
  }
  const auto& first = gpu.at("devices").at(0);
  EXPECT_EQ(first.at("uuid"), cuda_status().devices[0].uuid);
  EXPECT_GT(first.at("memory_free_bytes"), 0);
  EXPECT_TRUE(first.at("now").contains("power_w"));
}

TEST(Device, the_engines_configuration_keeps_it) {
  if (!has_gpu()) GTEST_SKIP() << cuda_status().reason;
  const auto outcome =
      run_iol("generate demo -p 'The sea' -n 8 --device cuda --dtype f32 --temperature 0 --json");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.error;
  const auto on_cpu =
      run_iol("generate demo -p 'The sea' -n 8 --device cpu --dtype f32 --temperature 0 --json");
  EXPECT_EQ(json::parse(outcome.out).at("text"), json::parse(on_cpu.out).at("text"));
}

}  // namespace
}  // namespace iol
