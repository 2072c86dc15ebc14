// The policy against machines made of formulas: no clock.
#include "speculative/depth_policy.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "base/random.h"
#include "speculative/acceptance.h"

namespace iol {
namespace {

struct Machine {
  std::function<double(int)> step_seconds;   // by rows
  std::function<double(int)> draft_seconds;  // by rows of a pass
  double noise = 0;                          // relative, uniform
  double turnaround_seconds = 0;             // of a step with drafts
};

struct Outcome {
  double seconds = 0;
  double tokens = 0;
  double drafts = 0;
  int num_changes = 0;

  [[nodiscard]] double rate() const { return tokens / seconds; }
};

/// `num_sequences` decode for so many steps; drafts are accepted at the given rate.
Outcome simulate(DepthPolicy& policy, const Machine& machine, int num_sequences, double acceptance,
                 int num_steps, bool from_model = true) {
  RandomStream random(3);
  std::vector<Acceptance> estimates(static_cast<std::size_t>(num_sequences),
                                    Acceptance(0.6, 6, 40));
  Outcome outcome;
  int last_depth = 0;
  const auto noisy = [&](double seconds) {
    return seconds * (1 + machine.noise * (2 * random.uniform() - 1));
  };
  for (int step = 0; step < num_steps; ++step) {
    std::vector<DepthChoice> choices;
    for (const Acceptance& estimate : estimates) {
      DepthChoice choice;
      choice.acceptance = estimate.rate();
      choice.most = kMaxDraftDepth;
      choice.from_model = from_model;
      choice.num_missing = 1;
      choices.push_back(choice);
    }
    policy.choose(choices, {num_sequences, 0, 4 * num_sequences + 16});
    if (policy.depth() != last_depth) ++outcome.num_changes;
    last_depth = policy.depth();
    int num_rows = num_sequences;
    int num_passes = 0;
    int num_drafting = 0;
    for (std::size_t i = 0; i < choices.size(); ++i) {
      num_rows += choices[i].depth;
      num_passes = std::max(num_passes, choices[i].depth);
      num_drafting += choices[i].depth > 0 ? 1 : 0;
      outcome.drafts += choices[i].depth;
      outcome.tokens += 1;
      for (int draft = 0; draft < choices[i].depth; ++draft) {
        const bool accepted = random.uniform() < acceptance;
        estimates[i].observe(accepted);
        if (!accepted) break;
        outcome.tokens += 1;
      }
    }
    for (int pass = 0; from_model && pass < num_passes; ++pass) {
      const double seconds = noisy(machine.draft_seconds(num_drafting));
      policy.on_draft_pass(num_drafting, seconds);
      outcome.seconds += seconds;
    }
    const double seconds = noisy(machine.step_seconds(num_rows));
    policy.on_step(num_rows, seconds, num_rows > num_sequences);
    outcome.seconds += seconds;
    if (num_rows == num_sequences) continue;
    const double turnaround = noisy(machine.turnaround_seconds);
    policy.on_turnaround(turnaround);
    outcome.seconds += turnaround;
  }
  return outcome;
}

/// What the best fixed depth reaches.
double best_rate(const Machine& machine, int num_sequences, double acceptance) {
  double best = 0;
  for (int depth = 0; depth <= kMaxDraftDepth; ++depth) {
    double tokens = 1;
    double chance = 1;
    for (int i = 0; i < depth; ++i) tokens += chance *= acceptance;
    const double seconds = machine.step_seconds(num_sequences * (1 + depth)) +
                           depth * machine.draft_seconds(num_sequences) +
                           (depth > 0 ? machine.turnaround_seconds : 0);
    best = std::max(best, num_sequences * tokens / seconds);
  }
  return best;
}

/// Reads weights once, whatever the rows: a GPU with few sequences.
const Machine kMemoryBound{[](int rows) { return 0.010 + 0.0001 * rows; },
                           [](int) { return 0.001; }, 0.05};
/// Every row costs the same: a machine that batching fills.
const Machine kComputeBound{[](int rows) { return 0.001 * rows; },
                            [](int rows) { return 0.0001 * rows; }, 0.05};

TEST(DepthPolicy, comes_near_the_best_fixed_depth) {
  for (const double acceptance : {0.3, 0.5, 0.7, 0.85, 0.95}) {
    DepthPolicy policy(std::nullopt);
    const Outcome outcome = simulate(policy, kMemoryBound, 1, acceptance, 3000);
    EXPECT_GT(outcome.rate(), 0.94 * best_rate(kMemoryBound, 1, acceptance)) << acceptance;
  }
}

TEST(DepthPolicy, a_step_with_drafts_must_be_worth_its_turnaround) {
  Machine machine = kMemoryBound;
  for (const double turnaround : {0.0005, 0.001, 0.003}) {
    machine.turnaround_seconds = turnaround;
    for (const double acceptance : {0.3, 0.7, 0.9}) {
      DepthPolicy policy(std::nullopt);
      const Outcome outcome = simulate(policy, machine, 1, acceptance, 3000);
      EXPECT_GT(outcome.rate(), 0.94 * best_rate(machine, 1, acceptance))
          << turnaround << ", " << acceptance;
      const double plain = 1 / machine.step_seconds(1);
      EXPECT_GT(outcome.rate(), 0.98 * plain) << turnaround << ", " << acceptance;
    }
  }
}

TEST(DepthPolicy, drafts_longer_where_more_is_accepted) {
  DepthPolicy often(std::nullopt);
  DepthPolicy seldom(std::nullopt);
  simulate(often, kMemoryBound, 1, 0.95, 500);
  simulate(seldom, kMemoryBound, 1, 0.4, 500);
  EXPECT_GT(often.depth(), seldom.depth());
  EXPECT_GT(often.depth(), 5);
}

TEST(DepthPolicy, never_loses_more_than_two_percent_where_drafts_do_not_pay) {
  for (const int num_sequences : {1, 4, 16, 64}) {
    for (const double acceptance : {0.0, 0.2, 0.5, 0.7}) {
      DepthPolicy policy(std::nullopt);
      const Outcome outcome = simulate(policy, kComputeBound, num_sequences, acceptance, 2000);
      const double plain = num_sequences / kComputeBound.step_seconds(num_sequences);
      EXPECT_GT(outcome.rate(), 0.98 * plain) << num_sequences << " sequences, " << acceptance;
    }
  }
  DepthPolicy policy(std::nullopt);
  const Outcome outcome = simulate(policy, kMemoryBound, 1, 0.0, 2000);
  EXPECT_GT(outcome.rate(), 0.98 / kMemoryBound.step_seconds(1));
}

TEST(DepthPolicy, turns_itself_off_as_the_machine_fills_and_on_again) {
  // Memory-bound up to 16 rows, compute-bound beyond.
  const Machine machine{[](int rows) { return 0.010 + 0.001 * std::max(0, rows - 16); },
                        [](int rows) { return 0.0005 + 0.0001 * rows; }, 0.02};
  DepthPolicy policy(std::nullopt);
  EXPECT_GT(simulate(policy, machine, 1, 0.8, 300).drafts, 300);
  EXPECT_GE(policy.depth(), 2);
  simulate(policy, machine, 64, 0.8, 600);
  EXPECT_EQ(policy.depth(), 0);
  simulate(policy, machine, 1, 0.8, 300);
  EXPECT_GE(policy.depth(), 2);
}

TEST(DepthPolicy, finds_out_by_probing_that_drafts_are_accepted_again) {
  DepthPolicy policy(std::nullopt);
  simulate(policy, kMemoryBound, 1, 0.0, 300);
  RandomStream random(1);
  Acceptance estimate(0.0, 40, 40);
  int num_probes = 0;
  for (int step = 0; step < 6000; ++step) {
    std::vector<DepthChoice> choices(1);
    choices[0].acceptance = estimate.rate();
    choices[0].most = 16;
    choices[0].from_model = true;
    choices[0].num_missing = 1;
    policy.choose(choices, {1, 0, 16});
    if (policy.depth() > 0) break;
    if (choices[0].depth > 0) ++num_probes;
    for (int i = 0; i < choices[0].depth; ++i) {
      estimate.observe(true);
      policy.on_draft_pass(1, 0.001);
    }
    const int num_rows = 1 + choices[0].depth;
    policy.on_step(num_rows, kMemoryBound.step_seconds(num_rows), num_rows > 1);
  }
  EXPECT_GT(policy.depth(), 0);
  EXPECT_GT(num_probes, 3);
  EXPECT_LT(num_probes, 60);
}

TEST(DepthPolicy, tries_a_draft_model_after_a_long_prompt) {
  // The first step and the draft's first pass hold a prompt: a single row takes far less.
  DepthPolicy policy(std::nullopt);
  policy.on_step(100, 0.050, false);
  policy.on_step(1, kMemoryBound.step_seconds(1), false);
  policy.on_draft_pass(100, 0.008);
  EXPECT_GT(simulate(policy, kMemoryBound, 1, 0.7, 100).drafts, 100);
  DepthPolicy unseen(std::nullopt);
  unseen.on_step(100, 0.050, false);
  EXPECT_GT(simulate(unseen, kMemoryBound, 1, 0.7, 100).drafts, 100);
}

TEST(DepthPolicy, asking_twice_makes_no_difference) {
  // The engine rehearses a choice on a copy, and runs ahead where that says no drafts.
  DepthPolicy policy(std::nullopt);
  RandomStream random(2);
  int num_drafting = 0;
  for (int step = 0; step < 5000; ++step) {
    std::vector<DepthChoice> choices(1);
    choices[0].acceptance = 0.9;
    choices[0].most = random.below(4) == 0 ? 0 : 16;  // lookup finds nothing now and then
    std::vector<DepthChoice> rehearsed = choices;
    DepthPolicy rehearsal = policy;
    rehearsal.choose(rehearsed, {1, 0, 16});
    if (rehearsed[0].depth > 0) policy.choose(choices, {1, 0, 16});
    num_drafting += choices[0].depth > 0 ? 1 : 0;
    const int num_rows = 1 + choices[0].depth;
    policy.on_step(num_rows, kMemoryBound.step_seconds(num_rows), num_rows > 1);
  }
  EXPECT_GT(num_drafting, 3000);
}

TEST(DepthPolicy, does_not_thrash) {
  DepthPolicy policy(std::nullopt);
  const Outcome outcome = simulate(policy, kMemoryBound, 4, 0.6, 3000);
  EXPECT_LT(outcome.num_changes, 300);
}

TEST(DepthPolicy, lookup_that_costs_nothing_is_used_where_a_model_would_not_pay) {
  const Machine machine{[](int rows) { return 0.010 + 0.002 * rows; }, [](int) { return 0.012; },
                        0.02};
  DepthPolicy lookup(std::nullopt);
  EXPECT_GT(simulate(lookup, machine, 1, 0.8, 500, false).drafts, 400);
  DepthPolicy model(std::nullopt);
  EXPECT_LT(simulate(model, machine, 1, 0.8, 500, true).drafts, 100);
}

TEST(DepthPolicy, each_sequence_drafts_what_pays_for_itself) {
  DepthPolicy policy(std::nullopt);
  simulate(policy, kMemoryBound, 2, 0.8, 300);
  std::vector<DepthChoice> choices(2);
  for (DepthChoice& choice : choices) choice.most = 16;
  choices[0].acceptance = 0.9;
  choices[1].acceptance = 0.01;
  policy.choose(choices, {2, 0, 32});
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
}  // namespace iol
