#include "speculative/depth_policy.h"

#include <algorithm>
#include <array>

namespace iol {
namespace {

// Before anything was seen: only their ratio matters.
constexpr double kGuessedStepSeconds = 1.0;
constexpr double kGuessedDraftShare = 0.15;  // of a draft pass in the time of a step
constexpr std::array kCaps = {1, 2, 3, 4, 5, 6, 8, 10, 12, 16};
constexpr int kFirstDrafts = 4;
constexpr double kGainToSwitch = 1.02;
constexpr double kGainToBegin = 1.04;
constexpr double kProbeShare = 0.005;
constexpr int kStepsUntilPlain = 250;
// Of a turnaround's difference from the mean, what the mean takes at least.
constexpr double kTurnaroundGain = 0.02;

/// The sum of a^1 ... a^count.
double expected_accepted(double acceptance, int count) {
  double chance = 1;
  double sum = 0;
  for (int i = 0; i < count; ++i) {
    chance *= acceptance;
    sum += chance;
  }
  return sum;
}

}  // namespace

DepthPolicy::DepthPolicy(std::optional<int> fixed_depth)
    : fixed_depth_(fixed_depth),
      verify_(kGuessedStepSeconds),
      draft_(kGuessedStepSeconds),
      depth_(fixed_depth.value_or(0)) {}

void DepthPolicy::on_step(int num_rows, double seconds, bool has_drafts) {
  verify_.observe(num_rows, seconds);
  num_since_plain_ = has_drafts ? num_since_plain_ + 1 : 0;
  if (depth_ == 0) credit_seconds_ += kProbeShare * seconds;
}

void DepthPolicy::on_turnaround(double seconds) {
  const double gain = std::max(kTurnaroundGain, 1.0 / ++num_turnarounds_);
  turnaround_seconds_ += gain * (seconds - turnaround_seconds_);
}

/// Before a pass was seen: a share of the time of a step of as many rows.
double DepthPolicy::draft_seconds(int num_rows) const {
  return draft_.has_seen_any() ? draft_.seconds(num_rows)
                               : kGuessedDraftShare * verify_.seconds(num_rows);
}

void DepthPolicy::choose(std::span<DepthChoice> choices, const StepOutlook& outlook) {
  if (fixed_depth_) return choose_fixed(choices, outlook);
  for (DepthChoice& choice : choices) choice.depth = 0;
  if (choices.empty()) return;
  if (!verify_.has_seen_about(outlook.num_decodes) || num_since_plain_ >= kStepsUntilPlain) return;
  plain_tok_s_ = promise_of(choices, outlook).tokens_per_second;
  double best_rate = plain_tok_s_;
  double kept_rate = depth_ == 0 ? plain_tok_s_ : 0;
  int best_cap = 0;
  for (const int cap : kCaps) {
    const double rate = apply_cap(choices, outlook, cap).tokens_per_second;
    if (cap == depth_) kept_rate = rate;
    if (rate > best_rate) {
      best_rate = rate;
      best_cap = cap;
    }
  }
  const double gain_needed = depth_ == 0 ? kGainToBegin : kGainToSwitch;
  if (best_rate >= gain_needed * kept_rate || kept_rate <= plain_tok_s_) depth_ = best_cap;
  promised_tok_s_ = apply_cap(choices, outlook, depth_).tokens_per_second;
  if (depth_ == 0) probe(choices, outlook);
}

void DepthPolicy::choose_fixed(std::span<DepthChoice> choices, const StepOutlook& outlook) const {
  int num_left = outlook.most_drafts;
  for (DepthChoice& choice : choices) {
    choice.depth = std::min({*fixed_depth_, choice.most, num_left});
    num_left -= choice.depth;
  }
}

DepthPolicy::Promise DepthPolicy::apply_cap(std::span<DepthChoice> choices,
                                            const StepOutlook& outlook, int cap) const {
  const int num_rows = outlook.num_decodes + outlook.num_prefill_tokens;
  const int most = std::max(1, static_cast<int>(choices.size()) * cap);
  const double row_seconds = (verify_.seconds(num_rows + most) - verify_.seconds(num_rows)) / most;
  const double token_seconds =
      verify_.seconds(std::max(outlook.num_decodes, 1)) / std::max(outlook.num_decodes, 1);
  const double worth_it = std::max(row_seconds, 0.0) / token_seconds;
  // No leaps: what lies far beyond the row counts that were seen is not known. But one draft alone
  // may not be worth a turnaround that several are.
  const int most_rows = std::max(2 * verify_.most_rows(), num_rows + kFirstDrafts);
  int num_left = std::min(outlook.most_drafts, most_rows - num_rows);
  for (DepthChoice& choice : choices) {
    double chance = 1;
    choice.depth = 0;
    while (choice.depth < std::min({cap, choice.most, num_left})) {
      chance *= choice.acceptance;
      if (chance < worth_it) break;
      ++choice.depth;
    }
    num_left -= choice.depth;
  }
  return promise_of(choices, outlook);
}

DepthPolicy::Promise DepthPolicy::promise_of(std::span<const DepthChoice> choices,
                                             const StepOutlook& outlook) const {
  const int num_rows = outlook.num_decodes + outlook.num_prefill_tokens;
  int num_drafts = 0;
  double num_tokens = std::max(outlook.num_decodes, 1);
  int num_passes = 0;
  int num_drafting = 0;
  int num_missing = 0;
  for (const DepthChoice& choice : choices) {
    num_drafts += choice.depth;
    num_tokens += expected_accepted(choice.acceptance, choice.depth);
    if (!choice.from_model || choice.depth == 0) continue;
    num_passes = std::max(num_passes, choice.depth);
    ++num_drafting;
    num_missing += choice.num_missing;
  }
  Promise promise;
  promise.extra_seconds = verify_.seconds(num_rows + num_drafts) - verify_.seconds(num_rows);
  if (num_drafts > 0) promise.extra_seconds += turnaround_seconds_;
  if (num_passes > 0) {
    // What a draft model has missed is computed once and pays over the steps to come.
    promise.extra_seconds += draft_seconds(num_drafting) * num_passes +
                             std::min(draft_seconds(num_missing) - draft_seconds(num_drafting),
                                      draft_seconds(num_drafting));
  }
  const double plain_seconds = verify_.seconds(std::max(outlook.num_decodes, 1));
  promise.tokens_per_second = num_tokens / (plain_seconds + std::max(promise.extra_seconds, 0.0));
  return promise;
}

void DepthPolicy::probe(std::span<DepthChoice> choices, const StepOutlook& outlook) {
  if (outlook.most_drafts < 1) return;
  DepthChoice* cheapest = nullptr;
  for (DepthChoice& choice : choices) {
    if (choice.most < 1) continue;
    if (cheapest == nullptr || choice.num_missing < cheapest->num_missing) cheapest = &choice;
  }
  if (cheapest == nullptr) return;
  const int num_rows = outlook.num_decodes + outlook.num_prefill_tokens;
  double cost = turnaround_seconds_ +
                std::max(0.0, verify_.seconds(num_rows + 1) - verify_.seconds(num_rows));
  if (cheapest->from_model) cost += draft_seconds(std::max(cheapest->num_missing, 1));
  if (cost > credit_seconds_) return;
  credit_seconds_ = 0;
  cheapest->depth = 1;
}

}  // namespace iol
