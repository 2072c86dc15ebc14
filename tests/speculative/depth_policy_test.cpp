// The policy on a machine that stays as it is.
#include <gtest/gtest.h>

#include "tests/speculative/simulated_machine.h"

namespace iol::test {
namespace {

TEST(DepthPolicy, comes_near_the_best_fixed_depth) {
  for (const double acceptance : {0.3, 0.5, 0.7, 0.85, 0.95}) {
    Simulation policy;
    const Outcome outcome = simulate(policy, kMemoryBound, 1, acceptance, 3000);
    EXPECT_GT(outcome.rate(), 0.94 * best_rate(kMemoryBound, 1, acceptance)) << acceptance;
  }
}

TEST(DepthPolicy, a_step_with_drafts_must_be_worth_its_turnaround) {
  Machine machine = kMemoryBound;
  for (const double turnaround : {0.0005, 0.001, 0.003}) {
    machine.turnaround_seconds = turnaround;
    for (const double acceptance : {0.3, 0.7, 0.9}) {
      Simulation policy;
      const Outcome outcome = simulate(policy, machine, 1, acceptance, 3000);
      EXPECT_GT(outcome.rate(), 0.93 * best_rate(machine, 1, acceptance))
          << turnaround << ", " << acceptance;
      const double plain = 1 / machine.step_seconds(1);
      EXPECT_GT(outcome.rate(), 0.98 * plain) << turnaround << ", " << acceptance;
    }
  }
}

TEST(DepthPolicy, drafts_longer_where_more_is_accepted) {
  Simulation often;
  Simulation seldom;
  simulate(often, kMemoryBound, 1, 0.95, 500);
  simulate(seldom, kMemoryBound, 1, 0.4, 500);
  EXPECT_GT(often.depth(), seldom.depth());
  EXPECT_GT(often.depth(), 5);
}

TEST(DepthPolicy, never_loses_more_than_two_percent_where_drafts_do_not_pay) {
  for (const int num_sequences : {1, 4, 16, 64}) {
    for (const double acceptance : {0.0, 0.2, 0.5, 0.7}) {
      Simulation policy;
      const Outcome outcome = simulate(policy, kComputeBound, num_sequences, acceptance, 2000);
      const double plain = num_sequences / kComputeBound.step_seconds(num_sequences);
      EXPECT_GT(outcome.rate(), 0.98 * plain) << num_sequences << " sequences, " << acceptance;
    }
  }
  Simulation policy;
  const Outcome outcome = simulate(policy, kMemoryBound, 1, 0.0, 2000);
  EXPECT_GT(outcome.rate(), 0.98 / kMemoryBound.step_seconds(1));
}

/// Rows of prompts, which take less than others, beside decodes whose drafts take more than they
/// bring: a closed loop, in which prompts come as fast as outputs end.
TEST(DepthPolicy, drafts_beside_prompts_cost_what_rows_with_logits_do) {
  Machine machine{[](int rows) { return 0.5e-3 + 42e-6 * rows; }, [](int) { return 0.0; }, 0.03};
  machine.prompt_row_seconds = 27e-6;
  Workload workload = workload_of(58, 0.55, false);
  // As many steps without prompts say what decodes take alone.
  Simulation policy;
  policy.run(machine, workload, 50);
  workload.most_prompt_rows = 250;
  const Outcome outcome = policy.run(machine, workload, 2000);
  // Without the time of prompts, which is the same whatever is drafted.
  const double prompts = 2000 * 187 * machine.prompt_row_seconds;
  const double rate = outcome.tokens / (outcome.seconds - prompts);
  EXPECT_GT(rate, 0.98 * 58 / machine.step_seconds(58));
}

/// A GPU captures a step when its form comes again: six times what the step takes.
const Machine kCapturing{[](int rows) { return 0.000125 + 0.000001 * rows; },
                         [](int) { return 0.00001; },
                         0.05,
                         0.00003,
                         0,
                         0,
                         0.0007};

TEST(DepthPolicy, what_devices_prepare_for_drafts_is_paid_by_drafts) {
  Machine machine = kCapturing;
  machine.always_prepares = true;  // all drafts are right, and never worth it
  for (const std::uint64_t seed : {1U, 2U, 3U}) {
    Simulation policy({}, seed);
    const Workload workload = workload_of(8, 1.0, false);
    EXPECT_GT(policy.run(machine, workload, 200).rate(), 0.9 * fixed_rate(machine, workload, 0))
        << seed;
    EXPECT_GT(policy.run(machine, workload, 4000).rate(), 0.98 * fixed_rate(machine, workload, 0))
        << seed;
  }
}

TEST(DepthPolicy, preparing_once_keeps_no_drafts_from_paying) {
  for (const std::uint64_t seed : {1U, 2U, 3U}) {
    Simulation policy({}, seed);
    const Workload workload = workload_of(8, 0.8, false);
    policy.run(kCapturing, workload, 4000);
    EXPECT_GT(policy.run(kCapturing, workload, 4000).rate(), 0.9 * best_rate(kCapturing, workload))
        << seed;
  }
}

TEST(DepthPolicy, a_pass_of_unknown_price_is_paid_for) {
  // Guesses that the host draws: a pass takes forty steps, whatever was expected of it.
  const Machine machine{[](int rows) { return 0.0003 + 0.000001 * rows; },
                        [](int) { return 0.012; }, 0.05};
  for (const std::uint64_t seed : {1U, 2U, 3U}) {
    Simulation policy({}, seed);
    const Outcome outcome = policy.run(machine, workload_of(64, 0.5), 8000);
    EXPECT_GT(outcome.rate(), 0.97 * 64 / machine.step_seconds(64)) << seed;
  }
}

TEST(DepthPolicy, compares_with_plain_steps_that_have_their_caches_to_themselves) {
  // The demo model's weights just fit the last-level cache, the draft model's don't beside them.
  const Machine machine{
      [](int rows) { return rows == 1 ? 0.00044 : 0.00054 + 0.00004 * (rows - 1); },
      [](int rows) { return 0.00008 + 0.00001 * (rows - 1); },
      0.05,
      0,
      0,
      0.25};
  Workload workload = workload_of(1, 0.45);
  const double plain = fixed_rate(machine, workload, 0);
  ASSERT_LT(best_rate(machine, workload), 1.01 * plain);
  for (const std::uint64_t seed : {1U, 2U, 3U}) {
    Simulation policy({}, seed);
    EXPECT_GT(policy.run(machine, workload, 4000).rate(), 0.98 * plain) << seed;
  }
}

TEST(DepthPolicy, turns_itself_off_as_the_machine_fills_and_on_again) {
  // Memory-bound up to 16 rows, compute-bound beyond.
  const Machine machine{[](int rows) { return 0.010 + 0.001 * std::max(0, rows - 16); },
                        [](int rows) { return 0.0005 + 0.0001 * rows; }, 0.02};
  Simulation policy;
  EXPECT_GT(simulate(policy, machine, 1, 0.8, 300).drafts, 300);
  EXPECT_GE(policy.depth(), 2);
  simulate(policy, machine, 64, 0.8, 600);
  EXPECT_EQ(policy.depth(), 0);
  simulate(policy, machine, 1, 0.8, 300);
  EXPECT_GE(policy.depth(), 2);
}

TEST(DepthPolicy, finds_out_by_trials_that_drafts_are_accepted_again) {
  // The other way took the same time: what a plain step costs is lost on no more than one in 100.
  for (const std::uint64_t seed : {1U, 2U, 3U, 4U}) {
    Simulation policy({}, seed);
    simulate(policy, kMemoryBound, 1, 0.0, 1000);
    EXPECT_EQ(policy.depth(), 0);
    const Outcome waiting = simulate(policy, kMemoryBound, 1, 0.0, 2000);
    EXPECT_GT(waiting.drafts, 5);
    EXPECT_GT(waiting.rate(), 0.99 / kMemoryBound.step_seconds(1));
    simulate(policy, kMemoryBound, 1, 0.7, 300);
    EXPECT_GT(policy.depth(), 0) << seed;
  }
}

TEST(DepthPolicy, tries_a_draft_model_after_a_long_prompt) {
  // The first step and the draft's first pass hold a prompt: a single row takes far less.
  Simulation policy;
  policy.policy().on_step({100, 0.050, 0, 0});
  policy.policy().on_step({1, kMemoryBound.step_seconds(1), 0, 0});
  policy.policy().on_draft_pass(100, 0.008);
  EXPECT_GT(simulate(policy, kMemoryBound, 1, 0.7, 100).drafts, 100);
  Simulation unseen;
  unseen.policy().on_step({100, 0.050, 0, 0});
  EXPECT_GT(simulate(unseen, kMemoryBound, 1, 0.7, 100).drafts, 100);
}

TEST(DepthPolicy, asking_twice_makes_no_difference) {
  // The engine rehearses a choice on a copy, and runs ahead where that says no drafts.
  DepthPolicy policy(std::nullopt);
  const Acceptance acceptance(0.9, 40);
  RandomStream random(2);
  int num_drafting = 0;
  for (int step = 0; step < 5000; ++step) {
    std::vector<DepthChoice> choices(1);
    choices[0].likely = acceptance.likely_chances();
    choices[0].hopeful = acceptance.hopeful_chances();
    choices[0].most = random.below(4) == 0 ? 0 : 16;  // lookup finds nothing now and then
    std::vector<DepthChoice> rehearsed = choices;
    DepthPolicy rehearsal = policy;
    rehearsal.choose(rehearsed, {1, 0, 16});
    if (rehearsed[0].depth > 0) policy.choose(choices, {1, 0, 16});
    EXPECT_EQ(choices[0].depth, rehearsed[0].depth);
    num_drafting += choices[0].depth > 0 ? 1 : 0;
    const int num_rows = 1 + choices[0].depth;
    policy.on_step({num_rows, kMemoryBound.step_seconds(num_rows), choices[0].depth,
                    std::floor(0.9 * choices[0].depth)});
  }
  EXPECT_GT(num_drafting, 3000);
}

/// Of `num_steps` steps without drafts, behind 100 of them, those in which it is asked for depths.
int asked_steps(double asking_share, bool has_found, int num_steps) {
  constexpr double kStepSeconds = 1e-3;
  DepthPolicy policy({});
  int num_asked = 0;
  for (int step = 0; step < 100 + num_steps; ++step) {
    if (!policy.rests(has_found)) {
      policy.on_asked(asking_share * kStepSeconds);
      if (step >= 100) ++num_asked;
    }
    policy.on_step({1, kStepSeconds, 0, 0});
  }
  return num_asked;
}

TEST(DepthPolicy, asking_in_vain_takes_a_percent_of_the_time) {
  constexpr int kSteps = 960;
  EXPECT_EQ(asked_steps(0, true, kSteps), kSteps);  // a device hides it
  EXPECT_EQ(asked_steps(0.005, true, kSteps), kSteps);
  EXPECT_EQ(asked_steps(0.04, true, kSteps), kSteps / 4);
  EXPECT_EQ(asked_steps(0.5, true, kSteps), kSteps / 32);
  // With nothing found never more than one step in eight.
  EXPECT_EQ(asked_steps(0, false, kSteps), kSteps / 8);
  EXPECT_EQ(asked_steps(0.5, false, kSteps), kSteps / 32);
}

TEST(DepthPolicy, does_not_thrash) {
  Simulation policy;
  const Outcome outcome = simulate(policy, kMemoryBound, 4, 0.6, 3000);
  EXPECT_LT(outcome.num_changes, 300);
}

TEST(DepthPolicy, lookup_that_costs_nothing_is_used_where_a_model_would_not_pay) {
  const Machine machine{[](int rows) { return 0.010 + 0.002 * rows; }, [](int) { return 0.012; },
                        0.02};
  Simulation lookup;
  EXPECT_GT(simulate(lookup, machine, 1, 0.8, 500, false).drafts, 400);
  Simulation model;
  EXPECT_LT(simulate(model, machine, 1, 0.8, 500, true).drafts, 100);
}

TEST(DepthPolicy, a_model_that_does_not_pay_keeps_nobody_from_what_lookup_finds) {
  // Four of eight sequences were found by lookup; a pass of the model takes as long as a step.
  const auto step_seconds = [](int rows) { return 0.001 + 0.00001 * rows; };
  for (const double pass_seconds : {0.0009, 0.00001}) {
    DepthPolicy policy(std::nullopt);
    RandomStream random(4);
    int num_found = 0;
    int num_asked = 0;
    for (int step = 0; step < 3000; ++step) {
      std::vector<DepthChoice> choices(8);
      for (std::size_t i = 0; i < choices.size(); ++i) {
        choices[i].from_model = i >= 4;
        choices[i].most = 8;
        const Acceptance acceptance(i >= 4 ? 0.8 : 0.9, 40);
        choices[i].likely = acceptance.likely_chances();
        choices[i].hopeful = acceptance.hopeful_chances();
      }
      policy.choose(choices, {8, 0, 64});
      StepOutcome outcome;
      int num_passes = 0;
      for (const DepthChoice& choice : choices) {
        const double rate = choice.from_model ? 0.8 : 0.9;
        bool accepted = true;
        for (int i = 0; i < choice.depth; ++i) {
          accepted = accepted && random.uniform() < rate;
          outcome.num_accepted += accepted ? 1 : 0;
        }
        outcome.num_drafts += choice.depth;
        if (choice.from_model) num_passes = std::max(num_passes, choice.depth);
        (choice.from_model ? num_asked : num_found) += choice.depth;
      }
      for (int pass = 0; pass < num_passes; ++pass) policy.on_draft_pass(4, pass_seconds);
      outcome.num_rows = 8 + outcome.num_drafts;
      outcome.seconds = step_seconds(outcome.num_rows);
      policy.on_step(outcome);
    }
    EXPECT_GT(num_found, 3000 * 4 * 5);
    if (pass_seconds > 0.0005) {
      EXPECT_LT(num_asked, num_found / 50);
    } else {
      EXPECT_GT(num_asked, num_found / 2);
    }
  }
}

TEST(DepthPolicy, each_sequence_drafts_what_pays_for_itself) {
  Simulation policy;
  simulate(policy, kMemoryBound, 2, 0.8, 300);
  std::vector<DepthChoice> choices(2);
  for (DepthChoice& choice : choices) choice.most = 16;
  choices[0].likely = choices[0].hopeful = Acceptance(0.9, 40).likely_chances();
  choices[1].likely = choices[1].hopeful = Acceptance(0.01, 40).likely_chances();
  policy.policy().choose(choices, {2, 0, 32});
  EXPECT_GT(choices[0].depth, 2);
  EXPECT_LE(choices[1].depth, 1);
}

TEST(DepthPolicy, a_fixed_depth_is_kept_within_the_limits) {
  DepthPolicy policy(5);
  std::vector<DepthChoice> choices(3);
  choices[0].most = 16;
  choices[1].most = 2;
  choices[2].most = 16;
  policy.choose(choices, {3, 0, 9});
  EXPECT_EQ(choices[0].depth, 5);
  EXPECT_EQ(choices[1].depth, 2);
  EXPECT_EQ(choices[2].depth, 2);
}

}  // namespace
}  // namespace iol::test
