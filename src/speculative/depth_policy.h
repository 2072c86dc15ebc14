#pragma once
#include <cstdint>
#include <optional>
#include <span>

#include "speculative/step_times.h"

namespace iol {

constexpr int kMaxDraftDepth = 16;

/// One decoding sequence, as the policy sees it before a step.
struct DepthChoice {
  double acceptance = 0;    // see Acceptance
  int most = 0;             // drafts that it can take at all: found, or before its length ends
  bool from_model = false;  // drafts come from the draft model, a forward pass per token
  int num_missing = 0;      // tokens that the draft model computes before its first guess

  int depth = 0;  // the answer, at most `most`
};

/// What else the step holds.
struct StepOutlook {
  int num_decodes = 0;         // sequences that decode, those without a DepthChoice included
  int num_prefill_tokens = 0;  // computed in the same step
  int most_drafts = 0;         // of all sequences together
};

/// Chooses how many tokens to draft for each sequence: always the same, or those that promise most
/// tokens per second.
///
/// The promise. A sequence that drafts k tokens, each accepted with chance a where those before it
/// were, gets 1 + a + ... + a^k tokens out of the step. The step takes verify(rows) with one row
/// per decode, per draft and per prompt token, and before it, where a draft model is asked,
/// draft(rows) for each token of the longest draft, and on a device that would run ahead otherwise
/// the host's turnaround. All times are learnt from steps that ran (StepTimes). A depth is chosen
/// for the batch, and each sequence takes of it what pays for itself: the j-th draft where a^j is
/// worth more than the time of its rows.
///
/// No thrash: the depth changes for a promise of 2 % more, from zero for one of 4 %. While the
/// depth is zero one sequence drafts now and then, to see whether that still holds, when what it
/// may cost is less than 0.5 % of the time since the last such probe. While it isn't, one step in
/// 250 goes without drafts, and so does the first of each batch size: there is no promise without a
/// plain step to compare with.
class DepthPolicy {
 public:
  /// Nothing: chosen by the promise.
  explicit DepthPolicy(std::optional<int> fixed_depth);

  /// Fills `depth` of each.
  void choose(std::span<DepthChoice> choices, const StepOutlook& outlook);
  /// A step ran, without its drafting: how many rows, how long, and whether drafts were among them.
  void on_step(int num_rows, double seconds, bool has_drafts);
  /// What a step with drafts took beside that, because the next one had to wait for its tokens.
  void on_turnaround(double seconds);
  /// The engine waited for a step because of a rehearsed choice, and nothing was drafted after all:
  /// that was a probe, and the next must be earned.
  void on_vain_wait() { credit_seconds_ = 0; }
  /// A forward pass of the draft model ran.
  void on_draft_pass(int num_rows, double seconds) { draft_.observe(num_rows, seconds); }

  /// Tokens per second that the last choice promised, and that no drafts at all promised.
  [[nodiscard]] double promised_tok_s() const { return promised_tok_s_; }
  [[nodiscard]] double plain_tok_s() const { return plain_tok_s_; }
  /// The cap that was chosen last; 0 in a probe too.
  [[nodiscard]] int depth() const { return depth_; }

 private:
  struct Promise {
    double tokens_per_second = 0;
    double extra_seconds = 0;
  };

  void choose_fixed(std::span<DepthChoice> choices, const StepOutlook& outlook) const;
  /// Sets every depth under the cap and says what comes of it.
  Promise apply_cap(std::span<DepthChoice> choices, const StepOutlook& outlook, int cap) const;
  /// Depths of each are given.
  [[nodiscard]] Promise promise_of(std::span<const DepthChoice> choices,
                                   const StepOutlook& outlook) const;
  [[nodiscard]] double draft_seconds(int num_rows) const;
  void probe(std::span<DepthChoice> choices, const StepOutlook& outlook);

  std::optional<int> fixed_depth_;
  StepTimes verify_;
  StepTimes draft_;
  double turnaround_seconds_ = 0;
  int num_turnarounds_ = 0;
  int depth_ = 0;
  int num_since_plain_ = 0;    // steps, all with drafts
  double credit_seconds_ = 0;  // what probes may cost now
  double promised_tok_s_ = 0;
  double plain_tok_s_ = 0;
};

}  // namespace iol
