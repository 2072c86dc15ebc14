#pragma once
// A machine made of formulas, and what the engine keeps beside the policy, on it: no clock.
#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "base/random.h"
#include "speculative/acceptance.h"
#include "speculative/depth_policy.h"
#include "speculative/output_lengths.h"

namespace iol::test {

/// What steps and draft passes take.
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
  double prompt_row_seconds = 0;  // of rows of prompts, beside step_seconds of the others
};

/// Who decodes what.
struct Workload {
  int num_sequences = 1;
  std::function<double(int place)> acceptance;
  bool from_model = true;
  int request_tokens = 0;      // then another request takes its place; 0: endless
  int num_prompt_tokens = 0;   // that the draft model computes before a request's first guess
  int num_latest_tokens = 64;  // or so many at least
  int most_prompt_rows = 0;    // in each step, from a half of them on
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
    if (workload.from_model && policy_.rests(false)) return choices;
    policy_.choose(choices, {workload.num_sequences, num_prompt_rows_,
                             kMaxDraftDepth * workload.num_sequences});
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
    const auto half = static_cast<std::uint64_t>(workload.most_prompt_rows) / 2;
    num_prompt_rows_ = static_cast<int>(half == 0 ? 0 : half + random_.below(half));
    const std::vector<DepthChoice> choices = choose(workload);
    if (policy_.depth() != last_depth_) ++outcome.num_changes;
    last_depth_ = policy_.depth();
    if (workload.from_model) draft(machine, choices, outcome);
    StepOutcome step;
    for (std::size_t i = 0; i < choices.size(); ++i) {
      step.num_drafts += choices[i].depth;
      step.num_accepted += verify(workload, requests_[i], choices[i].depth);
    }
    const int num_others = workload.num_sequences + step.num_drafts;
    step.num_rows = num_others + num_prompt_rows_;
    step.num_prompt_rows = num_prompt_rows_;
    step.seconds = noisy(
        machine, machine.step_seconds(num_others) + num_prompt_rows_ * machine.prompt_row_seconds);
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
  int num_prompt_rows_ = 0;  // of the step at hand
  bool model_ran_ = false;
};

inline Workload workload_of(int num_sequences, double acceptance, bool from_model = true) {
  return {num_sequences, [acceptance](int) { return acceptance; }, from_model, 0, 0};
}

/// `num_sequences` decode for so many steps; drafts are accepted at the given rate.
inline Outcome simulate(Simulation& simulation, const Machine& machine, int num_sequences,
                        double acceptance, int num_steps, bool from_model = true) {
  return simulation.run(machine, workload_of(num_sequences, acceptance, from_model), num_steps);
}

/// Tokens per second of a fixed depth, by the formulas; prompts that a draft model computes left
/// out.
inline double fixed_rate(const Machine& machine, const Workload& workload, int depth) {
  double tokens = 1;
  double chance = 1;
  for (int i = 0; i < depth; ++i) tokens += chance *= workload.acceptance(i);
  double seconds = machine.step_seconds(workload.num_sequences * (1 + depth));
  if (workload.from_model) seconds += depth * machine.draft_seconds(workload.num_sequences);
  if (depth > 0) seconds += machine.turnaround_seconds;
  return workload.num_sequences * tokens / (seconds * (1 + 2 * machine.spikes));
}

/// What the best fixed depth reaches.
inline double best_rate(const Machine& machine, const Workload& workload) {
  double best = 0;
  for (int depth = 0; depth <= kMaxDraftDepth; ++depth) {
    best = std::max(best, fixed_rate(machine, workload, depth));
  }
  return best;
}
inline double best_rate(const Machine& machine, int num_sequences, double acceptance) {
  return best_rate(machine, workload_of(num_sequences, acceptance));
}

/// Reads weights once, whatever the rows: a GPU with few sequences.
inline const Machine kMemoryBound{[](int rows) { return 0.010 + 0.0001 * rows; },
                                  [](int) { return 0.001; }, 0.05};
/// Every row costs the same: a machine that batching fills.
inline const Machine kComputeBound{[](int rows) { return 0.001 * rows; },
                                   [](int rows) { return 0.0001 * rows; }, 0.05};

}  // namespace iol::test
