// The policy against machines made of formulas: no clock.
#include "speculative/depth_policy.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/random.h"
#include "speculative/acceptance.h"
#include "speculative/output_lengths.h"

namespace iol {
namespace {

struct Machine {
  std::function<double(int)> step_seconds;   // by rows
  std::function<double(int)> draft_seconds;  // by rows of a pass
  double noise = 0;                          // relative, uniform
  double turnaround_seconds = 0;             // of a step with drafts
  double spikes = 0;                         // share of steps that take three times as long
  double crowding = 0;  // relative, of a plain step behind one in which the draft model ran
  // Of a step with drafts whose row count comes for the first or second time; or of each.
  double preparing_seconds = 0;
  bool always_prepares = false;
};

/// Who decodes what.
struct Workload {
  int num_sequences = 1;
  std::function<double(int place)> acceptance;
  bool from_model = true;
  int request_tokens = 0;      // then another request takes its place; 0: endless
  int num_prompt_tokens = 0;   // that the draft model computes before a request's first guess
  int num_latest_tokens = 64;  // or so many at least
};

struct Outcome {
  double seconds = 0;
  double tokens = 0;
  double drafts = 0;
  int num_changes = 0;

  [[nodiscard]] double rate() const { return tokens / seconds; }
};

/// What the engine keeps beside the policy, on a machine made of formulas.
class Simulation {
 public:
  explicit Simulation(std::optional<int> fixed_depth = {}, std::uint64_t seed = 3)
      : policy_(fixed_depth), random_(seed, 0) {}

  Outcome run(const Machine& machine, const Workload& workload, int num_steps) {
    Outcome outcome;
    set_requests(workload);
    for (int i = 0; i < num_steps; ++i) step(machine, workload, outcome);
    return outcome;
  }
  [[nodiscard]] int depth() const { return policy_.depth(); }
  DepthPolicy& policy() { return policy_; }

 private:
  struct Running {
    Acceptance acceptance;
    int num_tokens = 0;
    int num_missing = 0;
  };

  Running begin_request(const Workload& workload) {
    return {Acceptance(of_all_, 40), 0, workload.num_prompt_tokens + 1};
  }
  void set_requests(const Workload& workload) {
    const auto count = static_cast<std::size_t>(workload.num_sequences);
    while (requests_.size() > count) requests_.pop_back();
    while (requests_.size() < count) requests_.push_back(begin_request(workload));
  }
  double noisy(const Machine& machine, double seconds) {
    const bool spikes = random_.uniform() < machine.spikes;
    return (spikes ? 3 : 1) * seconds * (1 + machine.noise * (2 * random_.uniform() - 1));
  }

  std::vector<DepthChoice> choose(const Workload& workload) {
    std::vector<DepthChoice> choices;
    of_all_.fade();
    for (Running& request : requests_) {
      request.acceptance.fade();
      DepthChoice choice;
      choice.likely = request.acceptance.likely_chances();
      choice.hopeful = request.acceptance.hopeful_chances();
      choice.most = kMaxDraftDepth;
      choice.expected_rest = lengths_.expected_rest(request.num_tokens);
      choice.from_model = workload.from_model;
      choice.num_missing = workload.from_model ? request.num_missing : 0;
      choice.num_missing_latest = std::min(choice.num_missing, workload.num_latest_tokens);
      choices.push_back(choice);
    }
    if (workload.from_model && policy_.rests()) return choices;
    policy_.choose(choices, {workload.num_sequences, 0, kMaxDraftDepth * workload.num_sequences});
    return choices;
  }

  void draft(const Machine& machine, std::span<const DepthChoice> choices, Outcome& outcome) {
    int num_rows = 0;
    int num_passes = 0;
    int num_drafting = 0;
    for (std::size_t i = 0; i < choices.size(); ++i) {
      if (choices[i].depth == 0) continue;
      num_rows += choices[i].from_latest ? choices[i].num_missing_latest : choices[i].num_missing;
      ++num_drafting;
      num_passes = std::max(num_passes, choices[i].depth);
      requests_[i].num_missing = 0;
    }
    for (int pass = 0; pass < num_passes; ++pass, num_rows = num_drafting) {
      const double seconds = noisy(machine, machine.draft_seconds(num_rows));
      policy_.on_draft_pass(num_rows, seconds);
      outcome.seconds += seconds;
    }
  }

  int verify(const Workload& workload, Running& request, int depth) {
    int num_accepted = 0;
    for (; num_accepted < depth; ++num_accepted) {
      const bool accepted = random_.uniform() < workload.acceptance(num_accepted);
      request.acceptance.observe(num_accepted, accepted);
      of_all_.observe(num_accepted, accepted);
      if (!accepted) break;
    }
    request.num_missing += depth > 0 ? 1 : 1 + num_accepted;
    request.num_tokens += 1 + num_accepted;
    if (workload.request_tokens > 0 && request.num_tokens >= workload.request_tokens) {
      lengths_.observe(request.num_tokens);
      request = begin_request(workload);
    }
    return num_accepted;
  }

  void step(const Machine& machine, const Workload& workload, Outcome& outcome) {
    const std::vector<DepthChoice> choices = choose(workload);
    if (policy_.depth() != last_depth_) ++outcome.num_changes;
    last_depth_ = policy_.depth();
    if (workload.from_model) draft(machine, choices, outcome);
    StepOutcome step;
    for (std::size_t i = 0; i < choices.size(); ++i) {
      step.num_drafts += choices[i].depth;
      step.num_accepted += verify(workload, requests_[i], choices[i].depth);
    }
    step.num_rows = workload.num_sequences + step.num_drafts;
    step.seconds = noisy(machine, machine.step_seconds(step.num_rows));
    if (step.num_drafts > 0 && machine.preparing_seconds > 0) {
      step.ran_prepared = ++num_seen_[step.num_rows] > 2 && !machine.always_prepares;
      if (!step.ran_prepared) step.seconds += machine.preparing_seconds;
    }
    if (step.num_drafts == 0 && model_ran_) step.seconds *= 1 + machine.crowding;
    model_ran_ = workload.from_model && step.num_drafts > 0;
    policy_.on_step(step);
    outcome.seconds += step.seconds;
    outcome.drafts += step.num_drafts;
    outcome.tokens += workload.num_sequences + step.num_accepted;
    if (step.num_drafts == 0 || machine.turnaround_seconds == 0) return;
    const double turnaround = noisy(machine, machine.turnaround_seconds);
    policy_.on_turnaround(turnaround);
    outcome.seconds += turnaround;
  }

  DepthPolicy policy_;
  OutputLengths lengths_;
  Acceptance of_all_{0.6, 400};
  RandomStream random_;
  std::vector<Running> requests_;
  std::map<int, int> num_seen_;  // steps with drafts, by rows
  int last_depth_ = 0;
  bool model_ran_ = false;
};

Workload workload_of(int num_sequences, double acceptance, bool from_model = true) {
  return {num_sequences, [acceptance](int) { return acceptance; }, from_model, 0, 0};
}

/// `num_sequences` decode for so many steps; drafts are accepted at the given rate.
Outcome simulate(Simulation& simulation, const Machine& machine, int num_sequences,
                 double acceptance, int num_steps, bool from_model = true) {
  return simulation.run(machine, workload_of(num_sequences, acceptance, from_model), num_steps);
}

/// Tokens per second of a fixed depth, by the formulas; prompts that a draft model computes left
/// out.
double fixed_rate(const Machine& machine, const Workload& workload, int depth) {
  double tokens = 1;
  double chance = 1;
  for (int i = 0; i < depth; ++i) tokens += chance *= workload.acceptance(i);
  double seconds = machine.step_seconds(workload.num_sequences * (1 + depth));
  if (workload.from_model) seconds += depth * machine.draft_seconds(workload.num_sequences);
  if (depth > 0) seconds += machine.turnaround_seconds;
  return workload.num_sequences * tokens / (seconds * (1 + 2 * machine.spikes));
}

/// What the best fixed depth reaches.
double best_rate(const Machine& machine, const Workload& workload) {
  double best = 0;
  for (int depth = 0; depth <= kMaxDraftDepth; ++depth) {
    best = std::max(best, fixed_rate(machine, workload, depth));
  }
  return best;
}
double best_rate(const Machine& machine, int num_sequences, double acceptance) {
  return best_rate(machine, workload_of(num_sequences, acceptance));
}

/// Reads weights once, whatever the rows: a GPU with few sequences.
const Machine kMemoryBound{[](int rows) { return 0.010 + 0.0001 * rows; },
                           [](int) { return 0.001; }, 0.05};
/// Every row costs the same: a machine that batching fills.
const Machine kComputeBound{[](int rows) { return 0.001 * rows; },
                            [](int rows) { return 0.0001 * rows; }, 0.05};

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

// Machines and acceptance of many kinds, each for a while, then another without warning.
struct Phase {
  const char* name;
  const Machine* machine;
  Workload workload;
};

/// The demo on two cores: rows are free up to four, then a tenth of a step each; a draft pass takes
/// a tenth of a step, and a row of a prompt a thirtieth.
const Machine kDemo{[](int rows) { return 0.00055 + 0.00005 * std::max(0, rows - 4); },
                    [](int rows) { return 0.00005 + 0.000017 * (rows - 1); }, 0.1, 0, 0.02};
/// The same in a slow spell.
const Machine kSlowDemo{[](int rows) { return 0.0011 + 0.0001 * std::max(0, rows - 4); },
                        [](int rows) { return 0.0001 + 0.000034 * (rows - 1); }, 0.2, 0, 0.05};
/// A small model's draft takes as long as itself.
const Machine kDearDraft{[](int rows) { return 0.001 + 0.00002 * rows; },
                         [](int rows) { return 0.0009 + 0.00001 * rows; }, 0.1};

Workload requests_of(int num_sequences, std::function<double(int)> acceptance, bool from_model) {
  return {num_sequences, std::move(acceptance), from_model, 200, from_model ? 100 : 0};
}
double half(int /*place*/) { return 0.48; }
double poor(int /*place*/) { return 0.1; }
double none(int /*place*/) { return 0; }
double good(int /*place*/) { return 0.8; }
/// Lookup: wrong at once, or right for long.
double lucky(int place) { return place == 0 ? 0.5 : 0.95; }
/// A draft model that loses the thread.
double tiring(int place) { return 0.7 - 0.1 * std::min(place, 6); }

TEST(DepthPolicy, keeps_near_the_best_fixed_depth_through_changes) {
  const std::vector<std::vector<Phase>> courses = {
      {{"half", &kDemo, requests_of(1, half, true)},
       {"poor", &kDemo, requests_of(1, poor, true)},
       {"half again", &kDemo, requests_of(1, half, true)}},
      {{"none", &kDemo, requests_of(1, none, true)},
       {"good", &kDemo, requests_of(1, good, true)},
       {"good, slow", &kSlowDemo, requests_of(1, good, true)}},
      {{"lookup none", &kDemo, requests_of(1, none, false)},
       {"lookup lucky", &kDemo, requests_of(1, lucky, false)},
       {"lookup poor", &kDemo, requests_of(1, poor, false)}},
      {{"dear good", &kDearDraft, requests_of(1, good, true)},
       {"dear none", &kDearDraft, requests_of(1, none, true)},
       {"dear tiring", &kDearDraft, requests_of(1, tiring, true)}},
      {{"tiring", &kDemo, requests_of(1, tiring, true)},
       {"tiring, slow", &kSlowDemo, requests_of(1, tiring, true)},
       {"poor", &kDemo, requests_of(1, poor, true)}},
      {{"16 half", &kDemo, requests_of(16, half, true)},
       {"16 lucky", &kDemo, requests_of(16, lucky, false)},
       {"16 none", &kDemo, requests_of(16, none, true)}},
      {{"full machine", &kComputeBound, requests_of(16, half, true)},
       {"memory-bound", &kMemoryBound, requests_of(4, half, true)},
       {"full again", &kComputeBound, requests_of(16, good, true)}},
      {{"lookup none", &kMemoryBound, requests_of(4, none, false)},
       {"lookup lucky", &kMemoryBound, requests_of(4, lucky, false)},
       {"lookup none", &kMemoryBound, requests_of(4, none, false)}},
      {{"full lucky", &kComputeBound, requests_of(16, lucky, false)},
       {"full none", &kComputeBound, requests_of(16, none, false)},
       {"full lucky", &kComputeBound, requests_of(16, lucky, false)}},
  };
  double sum_changing = 0;
  double sum_settled = 0;
  int num_phases = 0;
  for (const auto& course : courses) {
    for (const std::uint64_t seed : {1U, 2U, 3U}) {
      Simulation simulation({}, seed);
      for (const Phase& phase : course) {
        const Outcome changing = simulation.run(*phase.machine, phase.workload, 2000);
        const Outcome settled = simulation.run(*phase.machine, phase.workload, 2000);
        const double best = best_rate(*phase.machine, phase.workload);
        const double plain = fixed_rate(*phase.machine, phase.workload, 0);
        if (std::getenv("IOL_SHOW") != nullptr) {
          std::printf("| %s | %d | %.3f | %.3f | %.3f | %.3f |\n", phase.name,
                      static_cast<int>(seed), best / plain, changing.rate() / best,
                      settled.rate() / best, std::min(changing.rate(), settled.rate()) / plain);
        }
        const auto where = std::string(phase.name) + ", seed " + std::to_string(seed);
        EXPECT_GT(settled.rate(), 0.86 * best) << where;
        EXPECT_GT(changing.rate(), 0.65 * best) << where;
        EXPECT_GT((changing.tokens + settled.tokens) / (changing.seconds + settled.seconds),
                  0.97 * plain)
            << where;
        sum_changing += changing.rate() / best;
        sum_settled += settled.rate() / best;
        ++num_phases;
      }
    }
  }
  EXPECT_GT(sum_changing / num_phases, 0.95);
  EXPECT_GT(sum_settled / num_phases, 0.97);
}

TEST(DepthPolicy, long_prompts_keep_no_draft_model_from_its_work) {
  // Drafts don't pay at first; when they do, every request begins with more than can be caught up
  // with.
  for (const int num_prompt_tokens : {500, 2000, 8000}) {
    for (const std::uint64_t seed : {1U, 2U, 3U}) {
      Simulation simulation({}, seed);
      Workload workload = requests_of(1, none, true);
      workload.request_tokens = 400;
      workload.num_prompt_tokens = num_prompt_tokens;
      const double plain = fixed_rate(kDemo, workload, 0);
      EXPECT_GT(simulation.run(kDemo, workload, 2000).rate(), 0.97 * plain) << num_prompt_tokens;
      workload.acceptance = good;
      simulation.run(kDemo, workload, 2000);
      EXPECT_GT(simulation.run(kDemo, workload, 2000).rate(), 1.8 * plain) << num_prompt_tokens;
    }
  }
}

TEST(DepthPolicy, catches_up_with_no_prompt_that_a_short_request_cannot_pay_for) {
  // Quantized, the demo's step takes 0.17 ms and its draft model's pass over a prompt 0.9: in 12
  // tokens, good drafts win back less than that; in 200 they do.
  const Machine machine{
      [](int rows) { return rows <= 2 ? 0.00017 : 0.00017 + 0.000055 * (rows - 2); },
      [](int rows) { return 0.000066 + 0.000012 * (rows - 1); },
      0.05,
      0,
      0.01,
      0.2};
  Workload workload = requests_of(1, good, true);
  workload.num_prompt_tokens = 72;
  const double plain = 1 / (machine.step_seconds(1) * (1 + 2 * machine.spikes));
  for (const std::uint64_t seed : {1U, 2U, 3U, 4U, 5U}) {
    workload.request_tokens = 12;
    Simulation brief({}, seed);
    EXPECT_GT(brief.run(machine, workload, 2000).rate(), 0.98 * plain) << seed;
    workload.request_tokens = 400;
    Simulation lasting({}, seed);
    lasting.run(machine, workload, 500);
    EXPECT_GT(lasting.run(machine, workload, 1500).rate(), 1.08 * plain) << seed;
  }
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
}  // namespace iol
