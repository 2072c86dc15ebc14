#include "bench/pytorch_subject.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <thread>

#include "base/error.h"

namespace iol::bench {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

const std::filesystem::path kSource = IOL_SOURCE_DIR;

/// Sets an environment variable for the length of a test.
class EnvironmentVariable {
 public:
  EnvironmentVariable(const char* name, const std::string& value) : name_(name) {
    if (const char* old = std::getenv(name)) old_ = old;
    ::setenv(name, value.c_str(), 1);
  }
  ~EnvironmentVariable() {
    if (old_) {
      ::setenv(name_, old_->c_str(), 1);
    } else {
      ::unsetenv(name_);
    }
  }

 private:
  const char* name_;
  std::optional<std::string> old_;
};

class PyTorchBaseline : public ::testing::Test {
 protected:
  void SetUp() override {
    environment_ = find_python_environment();
    if (!environment_.missing.empty()) GTEST_SKIP() << environment_.missing;
    model_.name = "books-2m";
    model_.folder = kSource / "models/books-2m";
    model_.dtype = DType::kF32;
    std::ifstream file(kSource / "tests/goldens/baseline_greedy.json");
    std::int64_t id = 0;
    const auto goldens = json::parse(file);
    ASSERT_EQ(goldens.at("requests").size(), 5);
    for (const auto& golden : goldens.at("requests")) {
      expected_.push_back(golden.at("tokens").get<std::vector<std::int32_t>>());
      requests_.push_back({id++, golden.at("prompt").get<std::vector<std::int32_t>>(),
                           static_cast<std::int64_t>(expected_.back().size())});
    }
  }

  std::vector<std::unique_ptr<Subject>> subjects(int batch = 0) const {
    return make_pytorch_subjects(
        environment_, model_,
        {.num_threads = 2, .max_request_tokens = 90, .max_batch = batch, .seed = 0});
  }

  void expect_goldens(const RunResult& result) {
    ASSERT_EQ(result.requests.size(), requests_.size());
    for (std::size_t i = 0; i < requests_.size(); ++i) {
      const auto& one = result.requests[i];
      EXPECT_EQ(one.tokens, expected_[i]) << "request " << i;
      EXPECT_EQ(one.token_times_ns.size(), expected_[i].size());
      EXPECT_TRUE(std::is_sorted(one.token_times_ns.begin(), one.token_times_ns.end()));
      EXPECT_GE(one.start_ns, result.start_ns);
      EXPECT_LE(one.token_times_ns.back(), result.end_ns);
    }
  }

  /// Tokens of a batch come together, the next batch begins when the longest of this one has ended,
  /// and the end of a request has sent the next one of a loop of `concurrency`.
  void expect_static_batches(const RunResult& result, int concurrency, int batch) {
    std::vector<std::int64_t> ends;
    const auto& requests = result.requests;
    for (std::size_t first = 0; first < requests.size();) {
      const auto last = std::min(first + static_cast<std::size_t>(batch), requests.size());
      const std::vector<std::int64_t> ends_before = ends;
      for (std::size_t i = first; i < last; ++i) {
        EXPECT_EQ(requests[i].token_times_ns.front(), requests[first].token_times_ns.front());
        if (!ends_before.empty()) {
          EXPECT_GE(requests[i].token_times_ns.front(), ends_before.back());
        }
        if (i < static_cast<std::size_t>(concurrency)) {
          EXPECT_EQ(requests[i].start_ns, requests[0].start_ns);
        } else {
          EXPECT_EQ(requests[i].start_ns, ends_before[i - static_cast<std::size_t>(concurrency)]);
        }
        ends.push_back(requests[i].token_times_ns.back());
      }
      std::sort(ends.begin(), ends.end());
      first = last;
    }
  }

  PythonEnvironment environment_;
  BenchModel model_;
  std::vector<WorkloadRequest> requests_;
  std::vector<std::vector<std::int32_t>> expected_;
};

TEST_F(PyTorchBaseline, without_a_gpu_says_so_before_and_when_asked_for_one) {
  const std::string why = why_no_gpu_for(environment_);
  if (why.empty()) GTEST_SKIP() << "PyTorch sees a GPU here";
  EXPECT_THAT(why, HasSubstr("sees no GPU"));
  const auto on_gpu = make_pytorch_subjects(
      environment_, model_,
      {.device = {DeviceKind::kCuda, 0}, .num_threads = 2, .max_request_tokens = 90, .seed = 0});
  try {
    on_gpu[0]->start({});
    FAIL() << "it started";
  } catch (const ResourceError& error) {
    EXPECT_THAT(error.what(), HasSubstr("sees no GPU"));
  }
}

TEST_F(PyTorchBaseline, eager_gives_greedy_tokens_alone_and_in_padded_batches) {
  const auto eager = std::move(subjects()[0]);
  EXPECT_EQ(eager->name(), "pytorch-eager");
  const auto ready = eager->start({});
  EXPECT_EQ(ready.at("versions").at("transformers").get<std::string>().substr(0, 2), "5.");
  EXPECT_EQ(ready.at("settings").at("threads"), 2);
  for (const int concurrency : {1, 2, 5}) {
    expect_goldens(eager->run({Phase::kWarmUp, concurrency, requests_}, {}));
    const auto result = eager->run({Phase::kMeasure, concurrency, requests_}, {});
    expect_goldens(result);
    EXPECT_THAT(result.details.at("settings").at("attention").get<std::string>(),
                ::testing::AnyOf("sdpa", "eager"));
    expect_static_batches(result, concurrency, concurrency);
  }
  eager->stop();
}

TEST_F(PyTorchBaseline, a_batch_smaller_than_the_load_lets_requests_wait_for_it) {
  const auto eager = std::move(subjects(/*batch=*/2)[0]);
  eager->start({});
  const auto result = eager->run({Phase::kMeasure, 4, requests_}, {});
  expect_goldens(result);
  expect_static_batches(result, 4, 2);
  EXPECT_EQ(result.requests[3].start_ns, result.requests[0].start_ns);  // sent, not yet begun
  eager->stop();
}

TEST_F(PyTorchBaseline, compiled_gives_the_same_and_compiles_in_the_warm_up_only) {
  const auto compiled = std::move(subjects()[1]);
  EXPECT_EQ(compiled->name(), "pytorch-compiled");
  compiled->start({});
  const auto warm_up = compiled->run({Phase::kWarmUp, 2, requests_}, {});
  expect_goldens(warm_up);
  EXPECT_GE(warm_up.details.at("graphs_compiled"), 1);
  const auto result = compiled->run({Phase::kMeasure, 2, requests_}, {});
  expect_goldens(result);
  EXPECT_EQ(result.details.at("graphs_compiled"), 0);
  compiled->stop();
}

TEST_F(PyTorchBaseline, killed_during_a_run_is_a_clear_error) {
  const auto eager = std::move(subjects()[0]);
  eager->start({});
  for (auto& request : requests_) request.output_tokens = 25;
  std::vector<WorkloadRequest> many;
  for (std::int64_t id = 0; id < 2000; ++id) {
    many.push_back(requests_[static_cast<std::size_t>(id) % requests_.size()]);
    many.back().id = id;
  }
  std::thread killer([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    ::kill(*eager->process_id(), SIGKILL);
  });
  try {
    eager->run({Phase::kMeasure, 1, many}, {});
    ADD_FAILURE() << "it lived";
  } catch (const ResourceError& error) {
    EXPECT_THAT(error.what(),
                HasSubstr("subject pytorch-eager was killed by signal 9 (Killed) during a run"));
  }
  killer.join();
}

TEST_F(PyTorchBaseline, builds_a_synthetic_model_of_the_shape_it_is_given) {
  model_.folder.reset();
  auto& config = model_.config;
  config.architecture = "Qwen3ForCausalLM";
  config.num_layers = 2;
  config.hidden_size = 64;
  config.intermediate_size = 96;
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.head_dim = 32;
  config.vocab_size = 9000;
  config.max_position_embeddings = 512;
  model_.dtype = DType::kBF16;
  const auto eager = std::move(subjects()[0]);
  const auto ready = eager->start({});
  // Per layer: Q and O 128 x 64, K and V 64 x 64, three of 96 x 64, two norms of 64, Q and K norms
  // of 32; embedding and output 9000 x 64 each, the final norm; two bytes each.
  const std::int64_t layer = 2 * 128 * 64 + 2 * 64 * 64 + 3 * 96 * 64 + 2 * 64 + 2 * 32;
  EXPECT_EQ(ready.at("memory").at("weights_bytes"), 2 * (2 * layer + 2 * 9000 * 64 + 64));
  const auto result = eager->run({Phase::kMeasure, 5, requests_}, {});
  EXPECT_EQ(result.requests[1].tokens.size(), 30);
  eager->stop();
}

TEST_F(PyTorchBaseline, a_folder_without_a_model_is_a_clear_error) {
  model_.folder = kSource / "docs-that-do-not-exist";
  const auto eager = std::move(subjects()[0]);
  try {
    eager->start({});
    ADD_FAILURE() << "started";
  } catch (const ResourceError& error) {
    const std::string message = error.what();
    EXPECT_THAT(message, HasSubstr("subject pytorch-eager failed with"));
    EXPECT_EQ(message.find('\n'), std::string::npos);
  }
}

TEST(PythonEnvironment, that_lacks_the_packages_says_which_and_what_to_do) {
  const auto folder = std::filesystem::path(::testing::TempDir()) / "python_without_packages";
  std::filesystem::create_directories(folder);
  const auto python = folder / "python";
  std::ofstream(python) << "#!/bin/sh\necho 'missing:torch transformers'\n";
  std::filesystem::permissions(python, std::filesystem::perms::owner_all);
  const EnvironmentVariable chosen("IOL_PYTHON", python.string());
  const auto environment = find_python_environment();
  EXPECT_THAT(environment.missing, HasSubstr("lacks torch transformers"));
  EXPECT_THAT(environment.missing, HasSubstr("pip install -r baseline/requirements.txt"));
}

TEST(PythonEnvironment, that_does_not_exist_says_so) {
  const EnvironmentVariable chosen("IOL_PYTHON", "/nonexistent/python");
  EXPECT_THAT(find_python_environment().missing, HasSubstr("/nonexistent/python does not run"));
}

}  // namespace
}  // namespace iol::bench
