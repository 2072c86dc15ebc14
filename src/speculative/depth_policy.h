#pragma once
#include <cstdint>
#include <optional>
#include <span>

#include "speculative/acceptance.h"
#include "speculative/row_costs.h"
#include "speculative/step_times.h"

namespace iol {

/// One decoding sequence, as the policy sees it before a step.
struct DepthChoice {
  DraftChances likely{};    // see Acceptance
  DraftChances hopeful{};   // the most that they may well be
  int most = 0;             // drafts that it can take at all: found, or before its length ends
  bool from_model = false;  // drafts come from the draft model, a forward pass per token
  // Tokens that the draft model computes before its first guess, and for one from_latest.
  int num_missing = 0;
  int num_missing_latest = 0;
  // Tokens that it is expected to get yet: over so many, what is missing has to pay.
  double expected_rest = 1e9;

  // The answer.
  int depth = 0;  // at most `most`
  bool from_latest = false;
};

/// What else the step holds.
struct StepOutlook {
  int num_decodes = 0;         // sequences that decode, those without a DepthChoice included
  int num_prefill_tokens = 0;  // computed in the same step
  int most_drafts = 0;         // of all sequences together
};

/// What came of a step.
struct StepOutcome {
  int num_rows = 0;
  double seconds = 0;  // without its drafting
  int num_drafts = 0;
  double num_accepted = 0;   // of them, each as far as it is likely to be wanted
  bool ran_prepared = true;  // see Backend::ran_prepared
  int num_prompt_rows = 0;   // of num_rows; but for a few they want no logits
};

/// Chooses how many tokens to draft for each sequence: always the same, or those that promise most
/// tokens per second.
///
/// The promise. A sequence that drafts k tokens gets one token out of the step, and of the drafts
/// those up to the first that is wrong: 1 + c_1 + ... + c_k of them, where c_j is the chance that
/// the first j are right. The step takes verify(rows) with one row per decode, per draft and per
/// prompt token, and before it, where a draft model is asked, draft(rows) for each token of the
/// longest draft, and the host's turnaround, see on_turnaround(). All times are learnt from steps
/// that ran (StepTimes); in a step with prompts decodes take at most, and a draft's row at least,
/// what RowCosts says. A depth is chosen for the batch, and each sequence takes of it what pays
/// for itself: the j-th draft where c_j is worth more than the time of its rows. Where lookup has
/// found drafts, the model may be asked for none. The depth changes for a promise of 2 % more, from
/// zero for one of 4 %.
///
/// What is not known well is tried, within two accounts of time, both filled by a share of the time
/// that goes by:
///  - a trial is a step with another depth than the chosen one, which may well promise more: when
///    chances are as high, and times as short, as the evidence allows (optimism in the face of
///    uncertainty; evidence fades, Garivier and Moulines 2011). It is paid for with what it is
///    expected to lose against the chosen depth. A draft model that has fallen behind is caught up
///    with only when several trials can follow, and goes by the latest tokens then. With a full
///    account and no hope at all one draft of one sequence is tried.
///  - the ledger: whatever drafts, trial or not, pays the time that it takes and is paid back the
///    time of the tokens that it brought, up to a small saving. A depth is out of the question
///    where the ledger could not pay if no draft were accepted, so drafts can't lose more against
///    none than the share and the saving, whatever the estimates say (conservative bandits, Wu et
///    al. 2016). Catching up is paid in instalments, over the steps that the sequence is expected
///    to have yet, the rest at once when drafting ends. What could not be foreseen is paid too -
///    what a device took to prepare itself for a step of a new form, a pass or a wait of more than
///    twice the time known: out of a reserve, which has what drafts brought beyond the ledger's
///    saving and a share of its own, then by the ledger, even if that puts it into debt. Some of
///    what they brought is spared for the ledger itself: where it is short and drafts promise to
///    pay, it fills faster, so that a streak of bad luck doesn't end them for long.
/// One step in 200 goes without drafts, more of the first ones and where little is gained, and so
/// does the first of each batch size: there is no promise without a plain step to compare with.
/// Behind steps of a draft model it is two, and the second counts: the first finds the draft
/// model's weights where its own were, in a processor's caches.
class DepthPolicy {
 public:
  /// Nothing: chosen by the promise.
  explicit DepthPolicy(std::optional<int> fixed_depth);

  /// True when asking for depths is not worth its time, which a small model's step feels: nothing
  /// was drafted for long, and only now and then is it looked whether that has changed: as seldom
  /// as keeps asking at a small share of the time, and in one step of eight at most where lookup
  /// has found nothing.
  [[nodiscard]] bool rests(bool has_found) const;
  /// Fills `depth` of each.
  void choose(std::span<DepthChoice> choices, const StepOutlook& outlook);
  /// The step for which depths were chosen last ran, or one for which none were asked.
  void on_step(const StepOutcome& outcome);
  /// What a step with drafts took beside that and the draft model's passes: looking drafts up,
  /// choosing depths and, on a device that would run ahead otherwise, the host's part of it.
  void on_turnaround(double seconds);
  /// Depths were asked for, lookup included, and a step without drafts took so much longer.
  void on_asked(double seconds);
  /// The engine waited for a step because of a rehearsed choice, and nothing was drafted after all:
  /// that was a trial, and the next must be earned.
  void on_vain_wait() { trial_seconds_ = 0; }
  /// A forward pass of the draft model ran. `ran_prepared`: see Backend::ran_prepared.
  void on_draft_pass(int num_rows, double seconds, bool ran_prepared = true);

  /// Tokens per second that the last choice promised, and that no drafts at all promised.
  [[nodiscard]] double promised_tok_s() const { return promised_tok_s_; }
  [[nodiscard]] double plain_tok_s() const { return plain_tok_s_; }
  /// The cap that was chosen last; 0 in a trial from 0 too.
  [[nodiscard]] int depth() const { return cap_.depth; }

 private:
  /// How chances and times are looked at.
  enum class View : std::uint8_t { kLikely, kHopeful };
  struct Promise {
    double num_tokens = 0;
    double seconds = 0;           // of the step, prompts in it left out
    double extra_seconds = 0;     // of them, for drafts
    double drafting_seconds = 0;  // of them, in the draft model
    double missed_seconds = 0;    // that a draft model spends once, to catch up
    double instalment = 0;        // the part of it that each step has to pay
    [[nodiscard]] double rate() const { return num_tokens / seconds; }
  };

  /// Counts towards the next plain step. False for one that does not say what plain steps take: the
  /// draft model had taken its caches.
  bool count_plain_steps(const StepOutcome& outcome);
  /// Of a step with drafts: what its rows, its drafting and its wait cost, less what it brought.
  double net_cost(const StepOutcome& outcome);
  void pay_unforeseen(double seconds);
  /// What drafts brought beyond the ledger's saving.
  void save(double surplus);
  /// For the ledger, in a step of that length.
  double spend_spare(double seconds);
  /// What is beyond the ledger's saving.
  double change_ledger(double seconds);
  void choose_fixed(std::span<DepthChoice> choices, const StepOutlook& outlook) const;
  /// Drafts of a sequence, and whether the draft model is asked for any.
  struct Cap {
    int depth = 0;
    bool asks_model = true;
    bool operator==(const Cap&) const = default;
  };
  template <class Consider>
  static void for_each_cap(std::span<const DepthChoice> choices, Consider consider);
  /// Sets every depth under the cap and says what comes of it.
  Promise apply_cap(std::span<DepthChoice> choices, const StepOutlook& outlook, const Cap& cap,
                    View view) const;
  /// Depths of each are given.
  [[nodiscard]] Promise promise_of(std::span<const DepthChoice> choices, const StepOutlook& outlook,
                                   View view) const;
  [[nodiscard]] double draft_seconds(int num_rows) const;
  /// Of a step's decodes, without drafts: what the step takes but for its prompts.
  [[nodiscard]] double decode_seconds(const StepOutlook& outlook) const;
  /// What so many drafts add to a step of so many other rows.
  [[nodiscard]] double row_seconds(int num_rows, int num_drafts, bool has_prompts) const;
  /// The cap that promises most, 0 where none promises more than plain steps, and what the present
  /// depth promises; of what the ledger can pay.
  struct Best {
    Cap cap;
    double rate = 0;
    double kept_rate = 0;
    bool is_short = false;  // the ledger can't pay what promises enough to begin
  };
  [[nodiscard]] Best best_of(std::span<DepthChoice> choices, const StepOutlook& outlook,
                             const Promise& plain) const;
  /// Chooses depth_ by what is likely, and sets depths.
  Promise exploit(std::span<DepthChoice> choices, const StepOutlook& outlook, const Promise& plain);
  /// Sets depths of a trial instead, where one is due.
  std::optional<Promise> try_another(std::span<DepthChoice> choices, const StepOutlook& outlook,
                                     const Promise& chosen);
  std::optional<Promise> try_one(std::span<DepthChoice> choices, const StepOutlook& outlook,
                                 const Promise& chosen);
  /// Whether the ledger can pay if no draft is accepted.
  [[nodiscard]] bool may_pay(const Promise& promise) const;
  /// Pays for the depths that are set, if there is enough.
  std::optional<Promise> pay_for_trial(std::span<const DepthChoice> choices,
                                       const StepOutlook& outlook, const Promise& chosen,
                                       int num_following);

  std::optional<int> fixed_depth_;
  StepTimes verify_;
  RowCosts row_costs_;  // of steps with prompts
  StepTimes draft_;
  double turnaround_seconds_ = 0;
  int num_turnarounds_ = 0;
  Cap cap_;                         // the present one
  int num_since_plain_ = 0;         // steps, all with drafts
  int num_until_plain_;             // of them, before the next plain one
  int num_undrafted_ = 0;           // steps, all without drafts
  double asking_seconds_ = 0;       // of a step without drafts, see on_asked()
  double trial_seconds_ = 0;        // what trials may cost now
  double wanted_seconds_ = 0;       // what the last one would have cost
  double ledger_seconds_ = 0;       // saved; below zero: in debt
  double spare_seconds_ = 0;        // that drafts brought, for a ledger that is short
  double reserve_seconds_ = 0;      // for what can't be foreseen
  double plain_seconds_ = 0;        // of a step without drafts, as the last choice saw it
  double token_seconds_ = 0;        // of one of its tokens
  double drafting_seconds_ = 0;     // of the draft model's passes, by the last choice
  double drafted_seconds_ = 0;      // that passes took since
  double instalments_seconds_ = 0;  // of catching up, to be paid
  double instalment_ = 0;           // the part of it that the last choice has to pay
  double promised_tok_s_ = 0;
  double plain_tok_s_ = 0;
  bool is_short_ = false;   // Best::is_short of the last choice
  bool model_ran_ = false;  // in the last step
  bool has_begun_ = false;
  bool has_drafted_ = false;
};

}  // namespace iol
