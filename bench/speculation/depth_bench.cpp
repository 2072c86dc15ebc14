// What choosing depths costs a step: describing the sequences to the policy, and its choice.
//
//   depth_bench          prints medians in microseconds, by the number of sequences
#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "speculative/depth_policy.h"
#include "speculative/output_lengths.h"

namespace {

using namespace iol;

constexpr int kSteps = 2000;

/// Of a machine on which a row takes so long, beside what a step takes anyway.
double step_seconds(int num_rows, double row_seconds) { return 100e-6 + row_seconds * num_rows; }

double median(std::vector<double>& values) {
  std::ranges::nth_element(values, values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2));
  return values[values.size() / 2];
}

void measure(int num_sequences, bool asks_model, double row_seconds) {
  RandomStream random(1);
  DepthPolicy policy({});
  OutputLengths lengths;
  Acceptance all(0.6, 400);
  std::vector<Acceptance> acceptances(static_cast<std::size_t>(num_sequences), Acceptance(all, 40));
  std::vector<DepthChoice> choices(acceptances.size());
  std::vector<double> describing_us, choosing_us;
  double depths = 0;
  for (int step = 0; step < kSteps; ++step) {
    const auto start_ns = now_ns();
    for (std::size_t i = 0; i < choices.size(); ++i) {
      DepthChoice& choice = choices[i];
      choice = {};
      choice.most = kMaxDraftDepth;
      choice.from_model = asks_model && i % 2 == 0;
      const DraftChances wanted = lengths.wanted_chances(step % 40);
      choice.likely = acceptances[i].likely_chances();
      choice.hopeful = acceptances[i].hopeful_chances();
      for (std::size_t j = 0; j < wanted.size(); ++j) {
        choice.likely[j] *= wanted[j];
        choice.hopeful[j] *= wanted[j];
      }
    }
    const auto described_ns = now_ns();
    policy.choose(choices, {num_sequences, 0, 2048});
    const auto chosen_ns = now_ns();
    describing_us.push_back(static_cast<double>(described_ns - start_ns) * 1e-3);
    choosing_us.push_back(static_cast<double>(chosen_ns - described_ns) * 1e-3);
    StepOutcome outcome;
    for (std::size_t i = 0; i < choices.size(); ++i) {
      outcome.num_drafts += choices[i].depth;
      for (int j = 0; j < choices[i].depth; ++j) {
        const bool is_right = random.below(10) < 6;
        acceptances[i].observe(j, is_right);
        if (!is_right) break;
        outcome.num_accepted += 1;
      }
    }
    if (step % 7 == 0) lengths.observe(static_cast<int>(random.below(60)));
    depths += policy.depth();
    outcome.num_rows = num_sequences + outcome.num_drafts;
    outcome.seconds = step_seconds(outcome.num_rows, row_seconds);
    policy.on_step(outcome);
    if (asks_model) policy.on_draft_pass(num_sequences, 10e-6);
  }
  fmt::print("{:>10} {:>8} {:>12.1f} {:>14.2f} {:>12.2f} {:>8.1f}\n", num_sequences,
             asks_model ? "both" : "lookup", row_seconds * 1e6, median(describing_us),
             median(choosing_us), depths / kSteps);
}

}  // namespace

int main() {
  fmt::print("{:>10} {:>8} {:>12} {:>14} {:>12} {:>8}\n", "sequences", "drafter", "us per row",
             "describing us", "choosing us", "depth");
  for (const bool asks_model : {false, true}) {
    for (const double row_seconds : {1e-6, 30e-6}) {
      for (const int num_sequences : {1, 8, 64}) measure(num_sequences, asks_model, row_seconds);
    }
  }
}
