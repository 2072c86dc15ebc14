#include "report/compare.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/report/compared_run.h"

namespace iol::report {
namespace {

using sample::compared_run;
using sample::ComparedRunOptions;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::ThrowsMessage;

Records base_run(ComparedRunOptions options = {}) { return compared_run(options); }

Records new_run(ComparedRunOptions options = {}) {
  options.run_id = "new";
  options.folder = "/new";
  options.seed = 1;
  return compared_run(options);
}

CompareOptions gated(const std::string& text) {
  CompareOptions options;
  options.gates.push_back(parse_gate(text));
  return options;
}

TEST(Gate, is_read) {
  const Gate gate = parse_gate("tpot_p99>3%");
  EXPECT_EQ(gate.metric.name, "tpot_p99");
  EXPECT_EQ(gate.metric.percent, 99);
  EXPECT_FALSE(gate.metric.higher_is_better());
  EXPECT_DOUBLE_EQ(gate.allowed, 0.03);
  EXPECT_TRUE(parse_gate("throughput>0.5%").metric.higher_is_better());
}

TEST(Gate, of_another_form_is_refused) {
  for (const char* text :
       {"", "tpot_p99", "tpot_p99>", "tpot_p99>3", "tpot_p99>-1%", "tpot_p99>x%", "tpot_p99>nan%",
        "tpot_p99>100%", "tpot_p42>3%", "speed>3%", ">3%", "tpot_p99>3%%", "tpot_p99<3%"}) {
    EXPECT_THAT([&] { static_cast<void>(parse_gate(text)); },
                ThrowsMessage<InputError>(HasSubstr("expected METRIC>PCT%")))
        << text;
  }
}

TEST(RunMetric, is_taken_from_the_successful_requests) {
  Records records = base_run({.repetitions = 1, .requests = 4, .noise = 0});
  for (std::size_t i = 0; i < 4; ++i)
    records.requests[i].ttft_ms = 10.0 * static_cast<double>(i + 1);
  records.requests[3].error = RequestError{"timeout", ""};
  const auto runs = group_runs(records);
  ASSERT_EQ(runs.size(), 1U);
  EXPECT_EQ(find_run_metric("ttft")->of(runs[0]), 20);
  EXPECT_EQ(find_run_metric("ttft_p99")->of(runs[0]), 30);
  EXPECT_EQ(find_run_metric("ttft_max")->of(runs[0]), 30);
  EXPECT_EQ(find_run_metric("ttft_mean")->of(runs[0]), 20);
  EXPECT_FALSE(find_run_metric("itl_p50")->of(runs[0])) << "nothing was recorded of it";
  EXPECT_FALSE(find_run_metric("goodput")->of(runs[0])) << "there are no objectives";
}

TEST(Compare, finds_the_exact_ratio_without_noise) {
  const auto result = compare(base_run({.noise = 0}), new_run({.noise = 0, .slow_down = 0.25}), {});
  ASSERT_EQ(result.comparisons.size(), 4U);
  for (const auto& comparison : result.comparisons) {
    const double expected = comparison.metric.higher_is_better() ? 0.8 : 1.25;
    EXPECT_NEAR(comparison.ratio.ratio, expected, 1e-6) << comparison.metric.name;
    EXPECT_GT(comparison.worsening(), 0);
    EXPECT_FALSE(comparison.failed) << "there is no gate";
  }
}

TEST(Compare, fails_only_beyond_the_allowed_change) {
  const Records base = base_run({.noise = 0.001});
  const Records slower = new_run({.noise = 0.001, .slow_down = 0.05});
  EXPECT_TRUE(compare(base, slower, gated("throughput>3%")).failed());
  EXPECT_TRUE(compare(base, slower, gated("tpot_p50>3%")).failed());
  EXPECT_FALSE(compare(base, slower, gated("tpot_p50>6%")).failed());
  EXPECT_FALSE(compare(base, slower, gated("throughput>6%")).failed());
  EXPECT_FALSE(compare(slower, base, gated("tpot_p50>0%")).failed()) << "faster is no failure";
}

TEST(Compare, passes_what_its_interval_does_not_exclude) {
  // Noise of 20 %: a slow-down of 5 % is far inside the interval.
  const auto result = compare(base_run({.noise = 0.2}), new_run({.noise = 0.2, .slow_down = 0.05}),
                              gated("tpot_p50>0%"));
  EXPECT_FALSE(result.failed());
  EXPECT_GT(*result.comparisons[0].smallest_visible_change, 0.10);
  EXPECT_GT(*result.comparisons[0].pairs_for_three_percent, 100);
}

TEST(Compare, several_gates_together_keep_the_confidence) {
  ComparedRunOptions options;
  options.concurrencies = {1, 4};
  options.repetitions = 9;
  CompareOptions gates = gated("throughput>3%");
  gates.gates.push_back(parse_gate("tpot_p50>3%"));
  const auto result = compare(base_run(options), new_run(options), gates);
  EXPECT_EQ(result.comparisons.size(), 4U);
  EXPECT_DOUBLE_EQ(result.confidence, 1 - 0.05 / 4);
}

TEST(Compare, refuses_a_gate_on_too_few_repetitions) {
  EXPECT_THAT(
      [] {
        static_cast<void>(compare(base_run({.repetitions = 3}), new_run({.repetitions = 4}),
                                  gated("tpot_p50>3%")));
      },
      ThrowsMessage<InputError>(AllOf(HasSubstr("3 pairs"), HasSubstr("it takes 6 repetitions"))));
}

TEST(Compare, refuses_a_gate_on_what_was_not_measured) {
  EXPECT_THAT([] { static_cast<void>(compare(base_run(), new_run(), gated("goodput>3%"))); },
              ThrowsMessage<InputError>(HasSubstr("iol bench --slo")));
}

TEST(Compare, refuses_other_models) {
  Records other = new_run();
  other.subjects[0].fields["model"]["hash"] = "sha256:beef";
  EXPECT_THAT(
      [&] { static_cast<void>(compare(base_run(), other, {})); },
      ThrowsMessage<InputError>(AllOf(HasSubstr("/base and /new"), HasSubstr("ran other models"))));
}

TEST(Compare, refuses_other_workloads) {
  for (const char* name : {"input_tokens", "output_tokens"}) {
    Records other = new_run();
    other.environment.fields["load"][name] = "7";
    EXPECT_THAT([&] { static_cast<void>(compare(base_run(), other, {})); },
                ThrowsMessage<InputError>(HasSubstr("different workloads")));
  }
  Records seeded = new_run();
  seeded.environment.fields["seed"] = 9;
  EXPECT_THAT([&] { static_cast<void>(compare(base_run(), seeded, {})); },
              ThrowsMessage<InputError>(HasSubstr("--seed 0 and 9")));
  EXPECT_THAT([] { static_cast<void>(compare(base_run(), new_run({.requests = 5}), {})); },
              ThrowsMessage<InputError>(HasSubstr("3 and 5 requests a repetition")));
}

TEST(Compare, refuses_the_same_run_and_nothing_in_common) {
  EXPECT_THAT([] { static_cast<void>(compare(base_run(), base_run(), {})); },
              ThrowsMessage<InputError>(HasSubstr("both are run 'base'")));
  Records other = new_run();
  other.subjects[0].name = "vllm";
  for (auto& request : other.requests) request.run.subject = "vllm";
  EXPECT_THAT([&] { static_cast<void>(compare(base_run(), other, {})); },
              ThrowsMessage<InputError>(HasSubstr("no subject of the same name")));
  CompareOptions options;
  options.concurrency = 99;
  EXPECT_THAT([&] { static_cast<void>(compare(base_run(), new_run(), options)); },
              ThrowsMessage<InputError>(HasSubstr("--concurrency")));
}

TEST(Compare, marks_pairs_whose_canary_moved) {
  Records base = base_run();
  Records next = new_run();
  const auto add_canary = [](Records& records, std::int64_t repetition, bool after, double speed) {
    CanaryRecord canary;
    canary.run = {"iol", "throughput", 1, repetition};
    canary.after = after;
    canary.read_bytes_per_s = speed;
    records.canaries.push_back(canary);
  };
  for (std::int64_t repetition = 0; repetition < 6; ++repetition) {
    for (Records* records : {&base, &next}) {
      const bool moved = records == &next && repetition == 2;
      const bool elsewhere = records == &base && repetition == 4;
      add_canary(*records, repetition, false, elsewhere ? 30e9 : 50e9);
      add_canary(*records, repetition, true, moved ? 44e9 : elsewhere ? 30e9 : 50e9);
    }
  }
  const auto result = compare(base, next, {});
  EXPECT_EQ(result.comparisons[0].marked_pairs, 2);
  EXPECT_THAT(compare_text(result), HasSubstr("2 of 6 of iol, throughput, 1"));
}

TEST(Compare, says_what_else_differs) {
  Records other = new_run({.repetitions = 8});
  other.environment.fields["machine"]["cpu_model"] = "Another CPU";
  other.requests[0].error = RequestError{"timeout", ""};
  const auto notes = compare(base_run(), other, {}).notes;
  EXPECT_THAT(notes, Contains(HasSubstr("Example CPU 9000 and Another CPU")));
  EXPECT_THAT(notes, Contains(HasSubstr("6 repetitions in BASE and 8 in NEW")));
  EXPECT_THAT(notes, Contains(HasSubstr("0 in BASE, 1 in NEW")));
  EXPECT_THAT(compare(base_run(), new_run(), {}).notes, Not(Contains(HasSubstr("Different"))));
}

TEST(Compare, json_has_every_number_and_the_verdict) {
  const auto result = compare(base_run({.noise = 0.001}),
                              new_run({.noise = 0.001, .slow_down = 0.1}), gated("tpot_p50>3%"));
  const Json json = compare_json(result);
  EXPECT_TRUE(json.at("failed"));
  const Json& comparison = json.at("comparisons").at(0);
  EXPECT_NEAR(comparison.at("ratio").get<double>(), 1.1, 0.01);
  EXPECT_EQ(comparison.at("interval").size(), 2U);
  EXPECT_EQ(comparison.at("gate"), "tpot_p50>3%");
  EXPECT_TRUE(comparison.at("failed"));
  EXPECT_GE(comparison.at("repetitions_for_3_percent").get<int>(), 6);
}

}  // namespace
}  // namespace iol::report
