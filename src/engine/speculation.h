#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/random.h"
#include "engine/request_state.h"
#include "scheduler/scheduler.h"
#include "speculative/depth_policy.h"
#include "speculative/model_drafter.h"
#include "speculative/ngram_drafter.h"
#include "speculative/output_lengths.h"
#include "speculative/speculation_config.h"

namespace iol {

struct SpeculationStats {
  std::int64_t num_draft_tokens = 0;     // verified
  std::int64_t num_accepted_tokens = 0;  // of them
  std::int64_t draft_ns = 0;             // spent on making them
  double acceptance = 0;  // of the latest drafts: the chance that one is, where all before it were
  double predicted_speedup = 1;  // of the last step, over no drafts
  int depth = 0;                 // chosen last
  std::string error;             // why the drafter was given up; empty while it works
};

/// What a step took, without its drafting.
struct StepTime {
  std::int64_t step_ns = 0;
  // Beside it, if it has drafts: making them, passes of the draft model included, and on a device
  // that would run ahead otherwise all that the host does from the step before to the end of it,
  // and of what it takes to begin the step as much as would be hidden. If it has none: what it
  // waited because of the drafts of the step before, or for drafts that didn't come.
  std::int64_t drafting_ns = 0;
  bool ran_prepared = true;  // see Backend::ran_prepared
};

/// The engine's side of speculation: asks drafters before a step, counts what came of it after.
/// Belongs to the engine's thread.
class Speculation {
 public:
  using Requests = std::unordered_map<RequestId, std::unique_ptr<RequestState>>;

  /// `model` is null where no draft model is wanted. `scheduler` outlives this.
  Speculation(const SpeculationConfig& config, std::unique_ptr<ModelDrafter> model,
              const Scheduler& scheduler);

  /// Whether propose() will draft once the step under way is finished, as far as can be told from
  /// the tokens that are known. If not, the next step goes without.
  bool expects_drafts(Requests& requests);
  /// That took so long, behind which the device was still at the step under way, or not.
  void on_asked(std::int64_t asking_ns, bool device_was_busy);
  /// Fills Sequence::draft_tokens of what decodes, whose tokens are all known. Call it before
  /// Scheduler::schedule().
  void propose(Requests& requests);
  /// A step ran.
  void on_step(const Batch& batch, const StepTime& time);
  /// A draft of a request was judged, those before it having been accepted. `place` from 0.
  void on_judged(DraftState& state, int place, bool accepted);
  /// The request has ended.
  void forget(const Sequence& sequence);
  void clear_prefixes();

  /// True when a draft is to count as accepted, with --simulated-acceptance.
  [[nodiscard]] bool simulates() const { return config_.simulated_acceptance.has_value(); }
  bool accept_simulated() { return simulation_.uniform() < *config_.simulated_acceptance; }

  [[nodiscard]] const SpeculationStats& stats() const { return stats_; }
  [[nodiscard]] std::int64_t last_draft_ns() const { return last_draft_ns_; }
  /// Weights, KV cache and activations of the draft model.
  [[nodiscard]] std::int64_t draft_model_bytes() const;

 private:
  [[nodiscard]] bool is_off() const { return !stats_.error.empty() || config_.depth == 0; }
  [[nodiscard]] bool lies_idle();
  void collect(Requests& requests);
  void look_up();
  void remember_guesses();
  void judge_guess(DraftState& state, const Sequence& sequence);
  /// True when nobody need be asked how much to draft; lookup was.
  [[nodiscard]] bool rests() const;
  void describe_choices();
  void choose_depths();
  void ask_model();
  [[nodiscard]] StepOutlook outlook() const;
  /// Tokens that the request will get yet, as far as can be told.
  [[nodiscard]] double expected_rest(const Sequence& sequence) const;
  /// Of who made the draft: over all requests, and of this one.
  Acceptance& acceptance_of_all(const DraftState& state);
  Acceptance& acceptance_of(DraftState& state);

  SpeculationConfig config_;
  std::unique_ptr<NgramDrafter> lookup_;
  std::unique_ptr<ModelDrafter> model_;
  const Scheduler& scheduler_;
  DepthPolicy policy_;
  Acceptance lookup_acceptance_;  // over all requests: where a new one begins
  Acceptance model_acceptance_;
  OutputLengths lengths_;
  RandomStream simulation_{0, 17};
  SpeculationStats stats_;
  std::int64_t last_draft_ns_ = 0;
  std::int64_t passes_ns_ = 0;  // of the draft model, for the step at hand
  // That steps without drafts waited because of drafts, not charged yet.
  std::int64_t held_up_ns_ = 0;
  int num_asked_in_vain_ = 0;   // steps without drafts since one with drafts
  int num_unasked_ = 0;         // steps since sequences were looked at
  double num_gained_ = 0;       // tokens that drafts of the step at hand brought
  bool was_asked_ = false;      // expects_drafts() looked at the sequences, not counted yet
  bool is_waited_for_ = false;  // it said yes
  // Scratch of a step.
  std::vector<RequestState*> candidates_;
  std::vector<DepthChoice> choices_;
  std::vector<Draft*> asked_;
};

}  // namespace iol
