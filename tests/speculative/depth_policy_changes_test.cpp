// The policy while acceptance, machine or streams change without warning.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "tests/speculative/simulated_machine.h"

namespace iol::test {
namespace {

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

TEST(DepthPolicy, a_streak_of_bad_luck_costs_no_long_time_without_drafts) {
  // Short requests of one stream and of sixteen in turn: a prompt caught up with and a few wrong
  // drafts empty the ledger, which 0.5 % of the time takes a thousand steps to fill.
  Machine machine;
  machine.step_seconds = [](int rows) { return 0.00045 + 0.00006 * (rows - 1); };
  machine.draft_seconds = [](int rows) { return 0.000066 + 0.000012 * (rows - 1); };
  machine.noise = 0.1;
  machine.spikes = 0.02;
  machine.crowding = 0.05;
  machine.prompt_row_seconds = 0.000025;
  Workload one;
  one.acceptance = [](int place) { return place == 0 ? 0.62 : 0.7; };
  one.request_tokens = 24;
  one.num_prompt_tokens = 70;
  Workload many = one;
  many.num_sequences = 16;
  many.most_prompt_rows = 100;
  double gains = 0;
  constexpr int kSeeds = 40;
  for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
    Simulation chosen({}, seed);
    Simulation plain(0, seed);
    for (int phase = 0; phase < 6; ++phase) {
      chosen.run(machine, many, 60);
      plain.run(machine, many, 60);
      gains += chosen.run(machine, one, 400).rate() / plain.run(machine, one, 400).rate() / 6;
    }
  }
  EXPECT_GT(gains / kSeeds, 1.12);  // always two drafts: 1.20
}

}  // namespace
}  // namespace iol::test
