#include "speculative/depth_policy.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace iol {
namespace {

// Before anything was seen: only their ratio matters.
constexpr double kGuessedStepSeconds = 1.0;
constexpr double kGuessedDraftShare = 0.15;  // of a draft pass in the time of a step
constexpr double kHopefulDraftPart = 0.1;    // of that, at best
// Seven and fifteen, because a GPU runs eight and 16 rows in the time of fewer.
constexpr std::array kCaps = {1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 16};
constexpr int kFirstDrafts = 4;
constexpr double kGainToSwitch = 1.02;
constexpr double kGainToBegin = 1.04;
// Steps with drafts between plain ones: few at first, twice as many each time.
constexpr int kFirstUntilPlain = 4;
constexpr int kMostUntilPlain = 200;
// And more where they cost less, and say more: so many that they lose this share of the time.
constexpr double kPlainShare = 0.004;
constexpr int kLeastUntilPlain = 16;
// Steps without drafts, behind which the next are asked for every so many steps.
constexpr int kUndraftedBeforeRest = 32;
constexpr int kRest = 8;
// Where lookup may have found something, so many that asking takes this share of the time; behind a
// few steps without drafts already, if it takes more than the second.
constexpr double kAskingShare = 0.01;
constexpr int kLongestRest = 32;
constexpr int kFewUndrafted = 4;
constexpr double kMostAskingShare = 0.05;
constexpr double kAskingGain = 0.1;
// Of a turnaround's difference from the mean, what the mean takes at least.
constexpr double kTurnaroundGain = 0.02;
// Accounts: shares of the time that goes by, and what they hold at most, in plain steps.
constexpr double kTrialShare = 0.004;
constexpr double kFirstTrialSteps = 2;
constexpr double kMostTrialSteps = 4;
// Or what catching up would have cost lately, up to so many.
constexpr double kMostWantedSteps = 100;
constexpr double kLedgerShare = 0.005;
constexpr double kFirstLedgerSteps = 4;
constexpr double kMostLedgerSteps = 6;
constexpr double kMostDebtSteps = 2;
// The reserve, of which the unforeseen is paid: what drafts brought beyond the ledger's saving, and
// a share of the time, without which forms that are worth their preparation would never come twice.
constexpr double kMostReserveSteps = 100;
constexpr double kReserveShare = 0.01;
constexpr double kMostSharedSteps = 10;
// Of what drafts brought so much is spared for the ledger: a share of the time, where it is short.
constexpr double kMostSpareSteps = 6;
constexpr double kSpareShare = 0.05;
// What the ledger pays of it at once: it may have been the machine's.
constexpr double kMostUnforeseenSteps = 10;
// A trial costs at least this part of a plain step: no two in a row where both are alike.
constexpr double kLeastTrialSteps = 0.02;
// Trials that follow once a draft model has been caught up with.
constexpr int kTrialsAfterCatchUp = 6;
// Steps over which catching up is expected to pay, where a sequence has so many before it.
constexpr double kMostInstalments = 64;
// What the ledger must hold of it when it begins.
constexpr double kRiskOfCatchingUp = 0.5;
// What the ledger always pays, in plain steps: rows that are as good as free.
constexpr double kFreeSteps = 0.005;

int num_worth_comparing(double gain) {
  return std::max(kLeastUntilPlain, static_cast<int>(2 * (gain - 1) / kPlainShare));
}

/// Steps over which it pays for catching up, with so many tokens in each.
double instalments_of(const DepthChoice& choice, double num_tokens) {
  return std::clamp(choice.expected_rest / num_tokens, 1.0, kMostInstalments);
}

bool asks_anybody(std::span<const DepthChoice> choices) {
  return std::ranges::any_of(choices, &DepthChoice::from_model);
}
bool has_found_any(std::span<const DepthChoice> choices) {
  return std::ranges::any_of(
      choices, [](const DepthChoice& choice) { return !choice.from_model && choice.most > 0; });
}

void leave_out(std::span<DepthChoice> choices, bool from_latest) {
  for (DepthChoice& choice : choices) choice.from_latest = from_latest;
}

}  // namespace

DepthPolicy::DepthPolicy(std::optional<int> fixed_depth)
    : fixed_depth_(fixed_depth),
      verify_(kGuessedStepSeconds),
      draft_(kGuessedStepSeconds),
      cap_{fixed_depth.value_or(0)},
      num_until_plain_(kFirstUntilPlain) {}

void DepthPolicy::on_step(const StepOutcome& outcome) {
  if (!has_begun_ && !outcome.ran_prepared) return;
  const bool tells = count_plain_steps(outcome) || !verify_.has_seen_about(outcome.num_rows);
  if (tells && outcome.ran_prepared) verify_.observe(outcome.num_rows, outcome.seconds);
  if (outcome.num_prompt_rows > 0 && outcome.ran_prepared)
    row_costs_.observe(outcome.num_prompt_rows, outcome.num_rows - outcome.num_prompt_rows,
                       std::min(outcome.seconds, 2 * verify_.seconds(outcome.num_rows)));
  draft_.fade();
  num_undrafted_ = outcome.num_drafts == 0 ? num_undrafted_ + 1 : 0;
  if (outcome.num_drafts == 0) plain_seconds_ = verify_.seconds(outcome.num_rows);
  const double seconds = std::min(outcome.seconds, 2 * verify_.seconds(outcome.num_rows));
  if (!has_begun_) {
    ledger_seconds_ = kFirstLedgerSteps * seconds;
    trial_seconds_ = kFirstTrialSteps * seconds;
  }
  has_begun_ = true;
  trial_seconds_ = std::min(trial_seconds_ + kTrialShare * seconds,
                            std::max(kMostTrialSteps * plain_seconds_, wanted_seconds_));
  double gain = kLedgerShare * seconds + spend_spare(seconds);
  if (drafted_seconds_ > 0) {
    instalments_seconds_ += std::max(0.0, drafted_seconds_ - drafting_seconds_);
    drafted_seconds_ = 0;
  }
  if (outcome.num_drafts > 0) {
    gain -= net_cost(outcome);
  } else if (cap_.depth == 0) {
    gain -= instalments_seconds_;
    instalments_seconds_ = 0;
  }
  reserve_seconds_ += std::clamp(kMostSharedSteps * plain_seconds_ - reserve_seconds_, 0.0,
                                 kReserveShare * seconds);
  const double surplus = change_ledger(gain);
  if (outcome.num_drafts > 0) save(surplus);
  // A form without drafts would have come without speculation too.
  if (!outcome.ran_prepared && outcome.num_drafts > 0)
    pay_unforeseen(outcome.seconds - verify_.seconds(outcome.num_rows));
}

double DepthPolicy::net_cost(const StepOutcome& outcome) {
  const double instalment = instalments_seconds_ * instalment_;
  instalments_seconds_ -= instalment;
  // By what its rows are now known to take.
  const int num_plain_rows = outcome.num_rows - outcome.num_drafts;
  return row_seconds(num_plain_rows, outcome.num_drafts, outcome.num_prompt_rows > 0) +
         drafting_seconds_ + turnaround_seconds_ + instalment -
         outcome.num_accepted * token_seconds_;
}

void DepthPolicy::save(double surplus) {
  const double room = std::max(0.0, kMostSpareSteps * plain_seconds_ - spare_seconds_);
  const double spared = std::min(surplus, room);
  spare_seconds_ += spared;
  reserve_seconds_ =
      std::min(reserve_seconds_ + surplus - spared, kMostReserveSteps * plain_seconds_);
}

double DepthPolicy::spend_spare(double seconds) {
  const double room = kMostLedgerSteps * plain_seconds_ - ledger_seconds_;
  if (!is_short_ || room <= 0) return 0;
  const double spent = std::min({spare_seconds_, kSpareShare * seconds, room});
  spare_seconds_ -= spent;
  return spent;
}

/// What is in debt because of the unforeseen stays so until it is paid.
double DepthPolicy::change_ledger(double seconds) {
  const double least = std::min(ledger_seconds_, -kMostDebtSteps * plain_seconds_);
  const double changed = std::max(ledger_seconds_ + seconds, least);
  ledger_seconds_ = std::min(changed, kMostLedgerSteps * plain_seconds_);
  return changed - ledger_seconds_;
}

void DepthPolicy::pay_unforeseen(double seconds) {
  const double price = std::max(seconds, 0.0);
  const double reserved = std::min(price, reserve_seconds_);
  reserve_seconds_ -= reserved;
  ledger_seconds_ -= std::min(price - reserved, kMostUnforeseenSteps * plain_seconds_);
}

bool DepthPolicy::count_plain_steps(const StepOutcome& outcome) {
  const bool is_cold = outcome.num_drafts == 0 && model_ran_;
  model_ran_ = drafted_seconds_ > 0;
  if (outcome.num_drafts > 0) {
    ++num_since_plain_;
  } else if (!is_cold) {
    if (num_since_plain_ >= num_until_plain_) {
      num_until_plain_ = std::min(2 * num_until_plain_, kMostUntilPlain);
    }
    num_since_plain_ = 0;
  }
  return !is_cold;
}

void DepthPolicy::on_draft_pass(int num_rows, double seconds, bool ran_prepared) {
  const double foreseen = std::min(seconds, 2 * draft_seconds(num_rows));
  pay_unforeseen(seconds - foreseen);
  // The first one touches weights and cache for the first time and says nothing of those to come.
  if (has_drafted_ && ran_prepared) draft_.observe(num_rows, seconds);
  drafted_seconds_ += foreseen;
  has_drafted_ = true;
}

void DepthPolicy::on_turnaround(double seconds) {
  pay_unforeseen(seconds - 2 * turnaround_seconds_);
  const double gain = std::max(kTurnaroundGain, 1.0 / ++num_turnarounds_);
  turnaround_seconds_ += gain * (seconds - turnaround_seconds_);
}

/// Before a pass was seen: a share of the time of a step of as many rows.
double DepthPolicy::draft_seconds(int num_rows) const {
  return draft_.has_seen_any() ? draft_.seconds(num_rows)
                               : kGuessedDraftShare * verify_.seconds(num_rows);
}

double DepthPolicy::decode_seconds(const StepOutlook& outlook) const {
  const int num_decodes = std::max(outlook.num_decodes, 1);
  const double seconds = verify_.seconds(num_decodes);
  if (outlook.num_prefill_tokens == 0) return seconds;
  return std::min(seconds, row_costs_.seconds_beside_prompts(num_decodes).value_or(seconds));
}

double DepthPolicy::row_seconds(int num_rows, int num_drafts, bool has_prompts) const {
  const double seconds = verify_.seconds(num_rows + num_drafts) - verify_.seconds(num_rows);
  return std::max(seconds, has_prompts ? num_drafts * row_costs_.least_seconds() : 0.0);
}

void DepthPolicy::on_asked(double seconds) {
  asking_seconds_ += kAskingGain * (seconds - asking_seconds_);
}

bool DepthPolicy::rests(bool has_found) const {
  const bool for_long = num_undrafted_ >= kUndraftedBeforeRest;
  if (fixed_depth_ || cap_.depth > 0 || num_undrafted_ < kFewUndrafted) return false;
  if (!has_found && for_long && num_undrafted_ % kRest != 0) return true;
  const double share = for_long ? kAskingShare : kMostAskingShare;
  const double most = for_long ? kLongestRest : kRest;
  const double steps = std::clamp(asking_seconds_ / (share * plain_seconds_), 1.0, most);
  return num_undrafted_ % static_cast<int>(std::lround(steps)) != 0;
}

void DepthPolicy::choose(std::span<DepthChoice> choices, const StepOutlook& outlook) {
  if (fixed_depth_) return choose_fixed(choices, outlook);
  for (DepthChoice& choice : choices) choice.depth = 0;
  leave_out(choices, false);
  if (choices.empty()) return;
  const double gain = plain_tok_s_ > 0 ? promised_tok_s_ / plain_tok_s_ : 1;  // of the last step
  const Promise plain = promise_of(choices, outlook, View::kLikely);
  plain_seconds_ = plain.seconds;
  token_seconds_ = 1 / plain.rate();
  plain_tok_s_ = promised_tok_s_ = plain.rate();
  if (!verify_.has_seen_about(outlook.num_decodes)) return;
  if (num_since_plain_ >= std::min(num_until_plain_, num_worth_comparing(gain))) return;
  Promise chosen = exploit(choices, outlook, plain);
  promised_tok_s_ = chosen.rate();
  chosen = try_another(choices, outlook, chosen).value_or(chosen);
  drafting_seconds_ = chosen.drafting_seconds;
  instalment_ = chosen.instalment;
}

bool DepthPolicy::may_pay(const Promise& promise) const {
  return promise.extra_seconds + kRiskOfCatchingUp * promise.missed_seconds <=
         std::max(ledger_seconds_, kFreeSteps * plain_seconds_);
}

void DepthPolicy::choose_fixed(std::span<DepthChoice> choices, const StepOutlook& outlook) const {
  int num_left = outlook.most_drafts;
  for (DepthChoice& choice : choices) {
    choice.depth = std::min({*fixed_depth_, choice.most, num_left});
    num_left -= choice.depth;
  }
}

/// Those of the model are left out where others have found some.
template <class Consider>
void DepthPolicy::for_each_cap(std::span<const DepthChoice> choices, Consider consider) {
  const bool leaves_out = asks_anybody(choices) && has_found_any(choices);
  for (const int depth : kCaps) {
    consider(Cap{depth, true});
    if (leaves_out) consider(Cap{depth, false});
  }
}

DepthPolicy::Best DepthPolicy::best_of(std::span<DepthChoice> choices, const StepOutlook& outlook,
                                       const Promise& plain) const {
  Best best;
  best.rate = plain.rate();
  if (cap_.depth == 0) best.kept_rate = plain.rate();
  for_each_cap(choices, [&](const Cap& cap) {
    const Promise promise = apply_cap(choices, outlook, cap, View::kLikely);
    if (!may_pay(promise)) {
      best.is_short |= promise.rate() > kGainToBegin * plain.rate();
      return;
    }
    if (cap == cap_) best.kept_rate = promise.rate();
    if (promise.rate() > best.rate) {
      best.rate = promise.rate();
      best.cap = cap;
    }
  });
  return best;
}

DepthPolicy::Promise DepthPolicy::exploit(std::span<DepthChoice> choices,
                                          const StepOutlook& outlook, const Promise& plain) {
  if (!cap_.asks_model && !has_found_any(choices)) cap_.depth = 0;
  if (!asks_anybody(choices)) cap_.asks_model = true;
  Best best = best_of(choices, outlook, plain);
  const auto can_leave_out = [](const DepthChoice& choice) {
    return choice.num_missing_latest < choice.num_missing;
  };
  if (best.cap.depth == 0 && std::ranges::any_of(choices, can_leave_out)) {
    leave_out(choices, true);
    best = best_of(choices, outlook, plain);
  }
  is_short_ = best.is_short;
  const bool gains = cap_.depth > 0 && best.kept_rate > plain.rate();
  const double gain_needed = cap_.depth == 0 ? kGainToBegin : gains ? kGainToSwitch : 0;
  if (best.rate >= gain_needed * best.kept_rate) cap_ = best.cap;
  return apply_cap(choices, outlook, cap_, View::kLikely);
}

DepthPolicy::Promise DepthPolicy::apply_cap(std::span<DepthChoice> choices,
                                            const StepOutlook& outlook, const Cap& cap,
                                            View view) const {
  const int num_rows = outlook.num_decodes + outlook.num_prefill_tokens;
  const int most = std::max(1, static_cast<int>(choices.size()) * cap.depth);
  const double token_seconds = decode_seconds(outlook) / std::max(outlook.num_decodes, 1);
  const bool has_prompts = outlook.num_prefill_tokens > 0;
  const double worth_it = row_seconds(num_rows, most, has_prompts) / most / token_seconds;
  // No leaps: what lies far beyond the row counts that were seen is not known. But one draft alone
  // may not be worth a turnaround that several are.
  const int most_rows = std::max(2 * verify_.most_rows(), num_rows + kFirstDrafts);
  int num_left = std::min(outlook.most_drafts, most_rows - num_rows);
  for (DepthChoice& choice : choices) {
    const DraftChances& chances = view == View::kLikely ? choice.likely : choice.hopeful;
    const bool is_left_out = choice.from_model && !cap.asks_model;
    const int most_depth = is_left_out ? 0 : std::min({cap.depth, choice.most, num_left});
    choice.depth = 0;
    while (choice.depth < most_depth &&
           chances[static_cast<std::size_t>(choice.depth)] >= worth_it) {
      ++choice.depth;
    }
    num_left -= choice.depth;
  }
  return promise_of(choices, outlook, view);
}

DepthPolicy::Promise DepthPolicy::promise_of(std::span<const DepthChoice> choices,
                                             const StepOutlook& outlook, View view) const {
  const int num_rows = outlook.num_decodes + outlook.num_prefill_tokens;
  Promise promise;
  promise.num_tokens = std::max(outlook.num_decodes, 1);
  int num_drafts = 0;
  int num_passes = 0;
  int num_drafting = 0;
  int num_missing = 0;
  for (const DepthChoice& choice : choices) {
    const DraftChances& chances = view == View::kLikely ? choice.likely : choice.hopeful;
    double num_tokens = 1;
    for (int i = 0; i < choice.depth; ++i) {
      num_tokens += static_cast<double>(chances[static_cast<std::size_t>(i)]);
    }
    promise.num_tokens += num_tokens - 1;
    num_drafts += choice.depth;
    if (!choice.from_model || choice.depth == 0) continue;
    num_passes = std::max(num_passes, choice.depth);
    ++num_drafting;
    const int missing = choice.from_latest ? choice.num_missing_latest : choice.num_missing;
    num_missing += missing;
    promise.instalment += missing / instalments_of(choice, num_tokens);
  }
  if (num_missing > 0) promise.instalment /= num_missing;
  promise.extra_seconds = row_seconds(num_rows, num_drafts, outlook.num_prefill_tokens > 0);
  if (view == View::kHopeful && num_drafts > 0) {
    promise.extra_seconds -= verify_.doubt_seconds(num_rows + num_drafts);
  }
  promise.extra_seconds = std::max(promise.extra_seconds, 0.0);
  if (num_drafts > 0) promise.extra_seconds += turnaround_seconds_;
  if (num_passes > 0) {
    const double share = view == View::kHopeful && !draft_.has_seen_any() ? kHopefulDraftPart : 1;
    const double pass_seconds = share * draft_seconds(num_drafting);
    promise.missed_seconds =
        std::max(0.0, draft_seconds(std::max(num_missing, num_drafting)) - pass_seconds);
    promise.drafting_seconds = num_passes * pass_seconds;
    promise.extra_seconds += promise.drafting_seconds;
  }
  promise.seconds =
      decode_seconds(outlook) + promise.extra_seconds + promise.missed_seconds * promise.instalment;
  return promise;
}

std::optional<DepthPolicy::Promise> DepthPolicy::try_another(std::span<DepthChoice> choices,
                                                             const StepOutlook& outlook,
                                                             const Promise& chosen) {
  if (outlook.most_drafts < 1 || trial_seconds_ < kLeastTrialSteps * plain_seconds_) return {};
  const bool left_out = choices.front().from_latest;
  leave_out(choices, true);
  double best_rate = kGainToBegin * chosen.rate();
  Cap best_cap;
  for_each_cap(choices, [&](const Cap& cap) {
    if (cap == cap_) return;
    const Promise promise = apply_cap(choices, outlook, cap, View::kHopeful);
    if (promise.rate() <= best_rate || !may_pay(promise)) return;
    best_rate = promise.rate();
    best_cap = cap;
  });
  std::optional<Promise> trial;
  if (best_cap.depth > 0) {
    apply_cap(choices, outlook, best_cap, View::kHopeful);
    trial = pay_for_trial(choices, outlook, chosen, kTrialsAfterCatchUp);
  }
  if (!trial && cap_.depth == 0) trial = try_one(choices, outlook, chosen);
  if (!trial) {
    leave_out(choices, left_out);
    apply_cap(choices, outlook, cap_, View::kLikely);
  }
  return trial;
}

std::optional<DepthPolicy::Promise> DepthPolicy::try_one(std::span<DepthChoice> choices,
                                                         const StepOutlook& outlook,
                                                         const Promise& chosen) {
  DepthChoice* cheapest = nullptr;
  for (DepthChoice& choice : choices) {
    choice.depth = 0;
    if (choice.most < 1) continue;
    if (cheapest == nullptr || choice.num_missing_latest < cheapest->num_missing_latest) {
      cheapest = &choice;
    }
  }
  if (cheapest == nullptr || trial_seconds_ < kMostTrialSteps / 2 * plain_seconds_) return {};
  cheapest->depth = 1;
  return pay_for_trial(choices, outlook, chosen, 1);
}

std::optional<DepthPolicy::Promise> DepthPolicy::pay_for_trial(std::span<const DepthChoice> choices,
                                                               const StepOutlook& outlook,
                                                               const Promise& chosen,
                                                               int num_following) {
  const Promise trial = promise_of(choices, outlook, View::kLikely);
  if (!may_pay(trial)) return {};
  const double loss =
      std::max(trial.seconds - trial.num_tokens / chosen.rate(), kLeastTrialSteps * plain_seconds_);
  // One or two missing tokens cost a draft model next to nothing.
  const bool catches_up = trial.missed_seconds > loss;
  const double needed = trial.missed_seconds + (catches_up ? num_following : 1) * loss;
  wanted_seconds_ = std::min(needed, kMostWantedSteps * plain_seconds_);
  if (trial_seconds_ < needed) return {};
  trial_seconds_ -= loss + trial.missed_seconds;
  return trial;
}

}  // namespace iol
