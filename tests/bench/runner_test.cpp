#include "bench/runner.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>

#include "base/clock.h"
#include "base/error.h"
#include "bench/bench.h"
#include "bench/slo.h"

namespace iol::bench {
namespace {

using nlohmann::json;

/// Answers at once, and writes down what it was asked.
class FakeSubject : public Subject {
 public:
  FakeSubject(std::string name, std::vector<std::string>& log)
      : name_(std::move(name)), log_(log) {}
  [[nodiscard]] const std::string& name() const override { return name_; }
  [[nodiscard]] const std::string& kind() const override { return kind_name; }
  [[nodiscard]] const json& settings() const override { return settings_; }
  json start(const Patience&) override {
    log_.push_back(name_ + " start");
    return {{"settings", {{"threads", 2}}}, {"load_ns", 1'500'000'000}};
  }
  RunResult run(const Load& load, const Patience& patience) override {
    log_.push_back(fmt::format("{} {} x{}", name_, phase_name(load.phase), load.concurrency));
    if (++num_runs_ == dies_in_run) throw_resource_error("subject {} died", name_);
    if (patience.interrupted && patience.interrupted()) throw Interrupted();
    RunResult result;
    result.start_ns = now_ns();
    for (const auto& request : load.requests) {
      asked[request.id] = request.prompt_tokens;
      RequestResult one;
      one.id = request.id;
      one.start_ns = one.intended_start_ns = now_ns();
      for (std::int64_t i = 0; i < request.output_tokens; ++i) {
        one.tokens.push_back(static_cast<std::int32_t>(i));
        one.token_times_ns.push_back(now_ns());
      }
      result.requests.push_back(std::move(one));
    }
    result.end_ns = now_ns();
    return result;
  }
  [[nodiscard]] std::optional<pid_t> process_id() const override { return ::getpid(); }
  void stop() noexcept override { log_.push_back(name_ + " stop"); }

  int dies_in_run = 0;
  std::string kind_name = "fake";
  std::map<std::int64_t, std::vector<std::int32_t>> asked;

 private:
  std::string name_;
  json settings_ = {{"batching", "static"}, {"threads", 1}};
  std::vector<std::string>& log_;
  int num_runs_ = 0;
};

class RunnerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    file_ = std::filesystem::path(::testing::TempDir()) /
            ("runner_" + std::to_string(::getpid()) + ".jsonl");
    std::filesystem::remove(file_);
    ScenarioOptions options;
    options.scenarios = {"throughput"};
    options.concurrencies = {1, 2};
    options.num_repetitions = 2;
    options.output_tokens = LengthDistribution::parse("3", "--output-tokens");
    plan_ = make_plan(options, PromptSource::random_ids(50), 2048);
    model_.name = "synthetic:test";
    model_.config.architecture = "LlamaForCausalLM";
    model_.config.num_layers = 2;
    model_.config.hidden_size = 8;
    model_.config.intermediate_size = 16;
    model_.config.num_heads = 2;
    model_.config.num_kv_heads = 1;
    model_.config.head_dim = 4;
    model_.config.vocab_size = 50;
    model_.dtype = DType::kBF16;
    for (const char* name : {"a", "b"}) {
      auto subject = std::make_unique<FakeSubject>(name, log_);
      fakes_.push_back(subject.get());
      subjects_.push_back(std::move(subject));
    }
  }
  void TearDown() override { std::filesystem::remove(file_); }

  bool run(std::function<bool()> interrupted = {}) {
    RecordWriter records(file_, "test");
    MemoryCanary canary(1);
    PackageEnergy energy("/nowhere");
    return run_bench(RunnerInputs{.plan = plan_,
                                  .model = model_,
                                  .subjects = subjects_,
                                  .records = records,
                                  .canary = canary,
                                  .energy = energy,
                                  .interrupted = std::move(interrupted),
                                  .leaves_out_failing = leaves_out_failing_});
  }

  std::vector<json> records(const std::string& type) const {
    std::ifstream file(file_);
    std::vector<json> found;
    for (std::string line; std::getline(file, line);) {
      auto record = json::parse(line);
      if (record["record_type"] == type) found.push_back(std::move(record));
    }
    return found;
  }

  std::filesystem::path file_;
  Plan plan_;
  BenchModel model_;
  std::vector<std::string> log_;
  std::vector<std::unique_ptr<Subject>> subjects_;
  std::vector<FakeSubject*> fakes_;
  bool leaves_out_failing_ = false;
};

TEST_F(RunnerTest, warms_up_then_interleaves_the_subjects) {
  EXPECT_TRUE(run());
  EXPECT_EQ(log_, (std::vector<std::string>{
                      "a start", "b start",                                            //
                      "a warmup x1", "b warmup x1",                                    //
                      "a measure x1", "b measure x1", "a measure x1", "b measure x1",  //
                      "a warmup x2", "b warmup x2",                                    //
                      "a measure x2", "b measure x2", "a measure x2", "b measure x2",  //
                      "a stop", "b stop"}));
  EXPECT_EQ(fakes_[0]->asked, fakes_[1]->asked);
}

TEST_F(RunnerTest, records_every_request_and_a_canary_on_either_side_of_every_run) {
  EXPECT_TRUE(run());
  // Two subjects, per load: one warm-up of C requests and two repetitions of 2 C.
  EXPECT_EQ(records("request").size(), 2U * ((1 + 2 * 2) + (2 + 2 * 4)));
  EXPECT_EQ(records("run").size(), 2U * 2 * 3);
  const auto canaries = records("canary");
  ASSERT_EQ(canaries.size(), 2U * 2 * 2 * 2);
  for (std::size_t i = 0; i < canaries.size(); i += 2) {
    EXPECT_EQ(canaries[i]["position"], "before");
    EXPECT_EQ(canaries[i + 1]["position"], "after");
    EXPECT_EQ(canaries[i]["subject"], canaries[i + 1]["subject"]);
    EXPECT_GT(canaries[i]["read_bytes_per_s"], 0);
  }
  EXPECT_FALSE(records("device_sample").empty());
  for (const auto& request : records("request")) {
    EXPECT_EQ(request["metrics"]["output_sequence_length"]["value"], 3);
  }
}

TEST_F(RunnerTest, a_subject_record_holds_what_the_limit_is_computed_from) {
  EXPECT_TRUE(run());
  const auto subjects = records("subject");
  ASSERT_EQ(subjects.size(), 2);
  EXPECT_EQ(subjects[0]["name"], "a");
  EXPECT_EQ(subjects[0]["settings"], json::parse(R"({"batching": "static", "threads": 2})"));
  EXPECT_EQ(subjects[0]["load_s"], 1.5);
  EXPECT_TRUE(subjects[0]["model"]["synthetic"]);
  // Per layer: Q and O 8 x 8 each, K and V 4 x 8 each, gate, up and down 16 x 8 each, two norms of
  // 8; then the final norm and the output projection. The input embedding is not read.
  EXPECT_EQ(subjects[0]["weight_bytes_per_step"], 2 * (2 * (192 + 384 + 16) + 8 + 50 * 8));
  EXPECT_EQ(subjects[0]["kv_bytes_per_token"], 2 * (2 * 2 * 1 * 4));
}

TEST_F(RunnerTest, a_subject_that_dies_fails_its_requests_and_leaves_whole_records) {
  fakes_[1]->dies_in_run = 3;  // its second repetition at concurrency 1
  EXPECT_THROW(run(), ResourceError);
  EXPECT_EQ(log_.back(), "b stop");
  EXPECT_EQ(records("run").size(), 5);
  int failed = 0;
  for (const auto& request : records("request")) {
    if (request["error"].is_null()) continue;
    ++failed;
    EXPECT_EQ(request["error"]["message"], "subject b died");
    EXPECT_EQ(request["metadata"]["subject"], "b");
    EXPECT_EQ(request["metadata"]["repetition"], 1);
  }
  EXPECT_EQ(failed, 2);
}

TEST_F(RunnerTest, a_baseline_that_dies_in_its_warm_up_is_left_out_and_the_others_go_on) {
  leaves_out_failing_ = true;
  fakes_[0]->kind_name = "pytorch";
  fakes_[0]->dies_in_run = 1;
  EXPECT_TRUE(run());
  const auto left_out = records("left_out");
  ASSERT_EQ(left_out.size(), 1U);
  EXPECT_EQ(left_out[0]["subject"], "a");
  EXPECT_EQ(left_out[0]["why"], "subject a died");
  EXPECT_EQ(std::count(log_.begin(), log_.end(), "a measure x1"), 0);
  EXPECT_EQ(std::count(log_.begin(), log_.end(), "b measure x2"), 2);
}

TEST_F(RunnerTest, a_baseline_that_dies_while_measured_ends_the_bench) {
  leaves_out_failing_ = true;
  fakes_[0]->kind_name = "pytorch";
  fakes_[0]->dies_in_run = 2;
  EXPECT_THROW(run(), ResourceError);
}

TEST_F(RunnerTest, only_a_baseline_may_be_left_out) {
  leaves_out_failing_ = true;
  fakes_[1]->dies_in_run = 1;
  EXPECT_THROW(run(), ResourceError);
}

TEST_F(RunnerTest, an_interruption_leaves_the_runs_that_ended) {
  int polls = 0;
  EXPECT_FALSE(run([&] { return ++polls > 6; }));
  EXPECT_EQ(log_.back(), "b stop");
  const auto runs = records("run");
  EXPECT_GT(runs.size(), 0U);
  EXPECT_LT(runs.size(), 12U);
  std::size_t expected = 0;
  for (const auto& one : runs) {
    const int concurrency = one["concurrency"];
    expected += static_cast<std::size_t>(one["phase"] == "warmup" ? concurrency : 2 * concurrency);
  }
  EXPECT_EQ(records("request").size(), expected);
}

TEST(Slo, is_parsed_in_milliseconds) {
  EXPECT_EQ(parse_slo("ttft=200ms,tpot=20.5ms,e2e=2s"),
            json::parse(R"({"ttft_ms": 200.0, "tpot_ms": 20.5, "e2e_ms": 2000.0})"));
  for (const char* text : {"", "ttft", "ttft=", "ttft=200", "ttft=-1ms", "ttft=0ms", "x=1ms",
                           "ttft=1ms,", "ttft=nanms", "ttft=1m", ",ttft=1ms", "ttft=infs"}) {
    EXPECT_THROW(parse_slo(text), InputError) << text;
  }
}

TEST(OutputFolder, names_the_model_and_nothing_outside_results) {
  for (const auto& [model, ending] : std::vector<std::pair<std::string, std::string>>{
           {"demo", "-demo"},
           {"models/books-16m/", "-books-16m"},
           {"/a/b/../../etc", "-etc"},
           {"synthetic:tinyllama-1.1b", "-synthetic-tinyllama-1.1b"},
           {"Org/Name v2", "-Name-v2"},
           {"..", "-model"}}) {
    const auto folder = default_output_folder(model);
    EXPECT_EQ(folder.parent_path(), "results") << model;
    EXPECT_TRUE(folder.string().ends_with(ending)) << folder;
  }
}

}  // namespace
}  // namespace iol::bench
