// What a user reads when another process has the GPU's memory. Needs a GPU.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "backend/cuda/cuda_device.h"
#include "bench/engine_child.h"
#include "bench/iol_subject.h"
#include "tests/run_iol.h"

namespace iol {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;

/// As a process with a context on the GPU sees it.
std::int64_t free_bytes() {
  const Outcome doctor = run_iol("doctor --quick --json");
  return json::parse(doctor.out).at("gpu").at("devices").at(0).at("memory_free_bytes");
}

/// An engine in another process, whose cache leaves `bytes` of the GPU's memory.
class Occupier {
 public:
  explicit Occupier(std::int64_t bytes_left)
      : answers_(std::filesystem::temp_directory_path() /
                 ("iol-occupier-" + std::to_string(::getpid()))) {
    EngineConfig config;
    config.model = IOL_SOURCE_DIR "/models/books-2m";
    config.device = {DeviceKind::kCuda, 0};
    config.max_batch = 1;
    const json plan = json::parse(run_iol("plan " + config.model + " --device cuda --json").out);
    config.kv_cache_tokens =
        (free_bytes() - bytes_left) / plan.at("kv_bytes_per_token").get<std::int64_t>();
    const std::string command = IOL_BINARY " bench " + std::string(bench::kEngineChildOption) +
                                " '" + bench::engine_config_json(config).dump() + "' > " +
                                answers_.string();
    process_ = ::popen(command.c_str(), "w");
    for (int i = 0; i < 300 && answer().empty(); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  ~Occupier() {
    std::fputs("{\"type\":\"quit\"}\n", process_);
    ::pclose(process_);
    std::filesystem::remove(answers_);
  }
  Occupier(const Occupier&) = delete;
  Occupier& operator=(const Occupier&) = delete;

  /// Its first line: that it is ready, or why not.
  [[nodiscard]] std::string answer() const {
    std::ifstream file(answers_);
    std::string line;
    std::getline(file, line);
    return line;
  }

 private:
  std::filesystem::path answers_;
  FILE* process_;
};

class GpuOccupied : public testing::Test {
 protected:
  void SetUp() override {
    if (cuda_status().devices.empty()) GTEST_SKIP() << cuda_status().reason;
  }
};

/// One line, and no success.
void expect_refusal(const Outcome& outcome) {
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_EQ(outcome.out, "");
  EXPECT_EQ(std::ranges::count(outcome.error, '\n'), 1) << outcome.error;
}

TEST_F(GpuOccupied, a_model_that_finds_no_room_is_refused_with_the_formats_that_fit) {
  constexpr std::int64_t kLeft = 2'400'000'000;  // less 2.2 GB of weights and CUDA's own half
  const Occupier occupier(kLeft);
  ASSERT_THAT(occupier.answer(), HasSubstr("\"ready\""));
  const Outcome small = run_iol("generate synthetic:tinyllama-1.1b -p x --device cuda");
  expect_refusal(small);
  EXPECT_THAT(small.error, AllOf(HasSubstr("'synthetic:tinyllama-1.1b' in bf16 needs 2.20 GB"),
                                 ContainsRegex("GB are free on cuda:0 [(].*GB"),
                                 HasSubstr("; it needs with --quant "), HasSubstr("int4 0.")));
  const Outcome large = run_iol("generate synthetic:llama-3.1-8b -p x --device cuda");
  expect_refusal(large);
  EXPECT_THAT(large.error, HasSubstr("; no format of it fits; "));
  const Outcome auto_device = run_iol("generate demo -p x -n 2 --max-context 128");
  EXPECT_EQ(auto_device.exit_code, 0) << auto_device.error;
}

TEST_F(GpuOccupied, a_gpu_without_room_for_cuda_itself_is_refused_in_one_line) {
  const Occupier occupier(100'000'000);
  ASSERT_THAT(occupier.answer(), HasSubstr("\"ready\""));
  const Outcome outcome = run_iol("generate demo -p x -n 2 --device cuda");
  expect_refusal(outcome);
  EXPECT_THAT(outcome.error, AllOf(HasSubstr("cuda:0 can't be used: CUDA: "), HasSubstr("memory"),
                                   HasSubstr("or use --device cpu")));
  const Outcome doctor = run_iol("doctor --quick");
  EXPECT_EQ(doctor.exit_code, 0) << doctor.error;
  EXPECT_THAT(doctor.out, AllOf(HasSubstr("GB, unknown free"), HasSubstr("can't be used: CUDA: ")));
}

TEST_F(GpuOccupied, a_cache_that_finds_no_room_is_refused_with_the_tokens_that_fit) {
  const Outcome outcome =
      run_iol("generate demo -p x --device cuda --kv-cache-tokens 100000000000");
  expect_refusal(outcome);
  EXPECT_THAT(outcome.error,
              ContainsRegex("; [0-9]+ tokens fit [(]--kv-cache-tokens, about twice"));
}

}  // namespace
}  // namespace iol
