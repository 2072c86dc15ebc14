#include "engine/speculation.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "base/clock.h"
#include "base/error.h"

namespace iol {
namespace {

// Before any draft was judged: what is common, so that the first request tries.
constexpr double kUsualAcceptance = 0.6;
// In judged drafts.
constexpr double kRequestMemory = 40;
constexpr double kEngineMemory = 400;
// Steps without drafts behind one with drafts in which they were asked for because of it.
constexpr int kAskedBecauseOfDrafts = 4;

DraftChances product(DraftChances chances, const DraftChances& others) {
  std::ranges::transform(chances, others, chances.begin(), std::multiplies<float>());
  return chances;
}

}  // namespace

Speculation::Speculation(const SpeculationConfig& config, std::unique_ptr<ModelDrafter> model,
                         const Scheduler& scheduler)
    : config_(config),
      lookup_(config.ngram ? std::make_unique<NgramDrafter>() : nullptr),
      model_(std::move(model)),
      scheduler_(scheduler),
      policy_(config.depth),
      lookup_acceptance_(kUsualAcceptance, kEngineMemory),
      model_acceptance_(kUsualAcceptance, kEngineMemory) {}

bool Speculation::expects_drafts(Requests& requests) {
  last_draft_ns_ = 0;
  if (is_off() || lies_idle()) return false;
  was_asked_ = true;
  collect(requests);
  look_up();
  remember_guesses();
  if (!rests()) describe_choices();
  if (std::ranges::any_of(choices_, [](const DepthChoice& choice) { return choice.most > 0; })) {
    DepthPolicy rehearsal = policy_;
    rehearsal.choose(choices_, outlook());
    is_waited_for_ =
        std::ranges::any_of(choices_, [](const DepthChoice& choice) { return choice.depth > 0; });
    if (is_waited_for_) return true;
  }
  stats_.depth = 0;
  stats_.predicted_speedup = 1;
  return false;
}

void Speculation::propose(Requests& requests) {
  last_draft_ns_ = 0;
  if (is_off() || (!is_waited_for_ && lies_idle())) return;
  const std::int64_t start_ns = now_ns();
  collect(requests);
  if (candidates_.empty()) return;
  try {
    look_up();
    if (rests()) {
      stats_.depth = 0;
      stats_.predicted_speedup = 1;
    } else {
      describe_choices();
      choose_depths();
      ask_model();
    }
  } catch (const std::exception& error) {  // requests go on without it
    stats_.error = error.what();
    for (RequestState* request : candidates_) request->drafts.draft.tokens.clear();
  }
  const auto has_draft = [](const RequestState* request) {
    return !request->drafts.draft.tokens.empty();
  };
  const bool has_any = std::ranges::any_of(candidates_, has_draft);
  if (is_waited_for_ && !has_any) policy_.on_vain_wait();
  is_waited_for_ = false;
  for (RequestState* request : candidates_) {
    const Draft& draft = request->drafts.draft;
    request->sequence.draft_tokens = draft.tokens;
    request->sequence.drafts_were_drawn = !draft.distributions.empty();
  }
  last_draft_ns_ = now_ns() - start_ns;
  stats_.draft_ns += last_draft_ns_;
  if (!has_any) policy_.on_asked(static_cast<double>(last_draft_ns_) * 1e-9);
}

void Speculation::on_asked(std::int64_t asking_ns, bool device_was_busy) {
  if (!std::exchange(was_asked_, false)) return;
  const std::int64_t cost_ns = device_was_busy ? 0 : asking_ns;
  policy_.on_asked(static_cast<double>(cost_ns) * 1e-9);
  if (num_asked_in_vain_++ < kAskedBecauseOfDrafts) held_up_ns_ += cost_ns;
}

/// True in most steps when drafts haven't been worth it for long and asking for them takes time.
bool Speculation::lies_idle() {
  const bool rests = policy_.rests(lookup_ != nullptr);
  if (rests) ++num_unasked_;
  return rests;
}

/// What decodes in the next step and can take a draft, in the order in which it is served.
void Speculation::collect(Requests& requests) {
  candidates_.clear();
  choices_.clear();
  const int num_steps = 1 + std::exchange(num_unasked_, 0);
  lookup_acceptance_.fade(num_steps);
  model_acceptance_.fade(num_steps);
  const auto& running = scheduler_.queues().running();
  const bool prompts_come_first = scheduler_.config().policy == SchedulerPolicy::kStatic;
  const auto decodes = [](const Sequence* sequence) { return sequence->is_decoding; };
  if (prompts_come_first && !std::ranges::all_of(running, decodes)) return;
  for (const Sequence* sequence : running) {
    if (!sequence->is_decoding || !sequence->speculates || sequence->awaits_last_token) continue;
    // The last token of all is the model's own.
    const int most =
        std::min({kMaxDraftDepth, sequence->sampling.max_tokens - sequence->num_output_tokens() - 1,
                  scheduler_.config().max_context - sequence->num_tokens() - 1});
    if (most < 1) continue;
    RequestState& request = *requests.at(sequence->id);
    if (request.drafts.lookup_acceptance) request.drafts.lookup_acceptance->fade(num_steps);
    if (request.drafts.model_acceptance) request.drafts.model_acceptance->fade(num_steps);
    judge_guess(request.drafts, *sequence);
    Draft& draft = request.drafts.draft;
    draft.sequence = sequence;
    draft.max_tokens = config_.depth ? std::min(*config_.depth, most) : most;
    draft.tokens.clear();
    draft.distributions.clear();
    request.drafts.from_model = false;
    candidates_.push_back(&request);
  }
}

void Speculation::look_up() {
  if (!lookup_) return;
  asked_.clear();
  for (RequestState* request : candidates_) asked_.push_back(&request->drafts.draft);
  lookup_->propose(asked_);
}

/// What lookup guesses of tokens under way says how good its drafts would be.
void Speculation::remember_guesses() {
  for (RequestState* request : candidates_) {
    const auto& tokens = request->drafts.draft.tokens;
    const std::size_t position = request->sequence.known_tokens().size();
    if (!tokens.empty()) request->drafts.guess = TokenGuess{position, tokens.front()};
  }
}

void Speculation::judge_guess(DraftState& state, const Sequence& sequence) {
  const auto tokens = sequence.known_tokens();
  if (!state.guess || state.guess->position >= tokens.size()) return;
  const bool is_right = tokens[state.guess->position] == state.guess->token;
  state.guess.reset();
  if (state.lookup_acceptance) state.lookup_acceptance->observe(0, is_right);
  lookup_acceptance_.observe(0, is_right);
}

StepOutlook Speculation::outlook() const {
  const auto& config = scheduler_.config();
  StepOutlook outlook;
  std::int64_t num_prompt_tokens = 0;
  const auto& running = scheduler_.queues().running();
  for (const Sequence* sequence : running) {
    if (sequence->is_decoding) {
      ++outlook.num_decodes;
    } else {
      num_prompt_tokens += sequence->num_tokens() - sequence->num_computed_tokens;
    }
  }
  int num_places = config.max_batch - static_cast<int>(running.size());
  for (const Sequence* sequence : scheduler_.queues().waiting()) {
    if (num_places-- <= 0) break;
    num_prompt_tokens += sequence->num_tokens() - sequence->num_swapped_tokens;
  }
  const int budget = config.max_step_tokens - outlook.num_decodes;
  outlook.num_prefill_tokens =
      static_cast<int>(std::min<std::int64_t>(num_prompt_tokens, std::max(budget, 0)));
  outlook.most_drafts =
      std::max(0, std::min(config.max_step_drafts, budget - outlook.num_prefill_tokens));
  return outlook;
}

double Speculation::expected_rest(const Sequence& sequence) const {
  const int num_tokens = sequence.num_output_tokens();
  return std::min(lengths_.expected_rest(num_tokens),
                  static_cast<double>(sequence.sampling.max_tokens - num_tokens));
}

Acceptance& Speculation::acceptance_of_all(const DraftState& state) {
  return state.from_model ? model_acceptance_ : lookup_acceptance_;
}

Acceptance& Speculation::acceptance_of(DraftState& state) {
  auto& own = state.acceptance();
  if (!own) own.emplace(acceptance_of_all(state), kRequestMemory);
  return *own;
}

bool Speculation::rests() const {
  const auto is_found = [](const RequestState* request) {
    return !request->drafts.draft.tokens.empty();
  };
  if (is_waited_for_ || std::ranges::any_of(candidates_, is_found)) return false;
  return model_ ? policy_.rests(false) : policy_.depth() == 0 && !config_.depth;
}

void Speculation::describe_choices() {
  for (RequestState* request : candidates_) {
    DraftState& state = request->drafts;
    DepthChoice choice;
    choice.most = static_cast<int>(state.draft.tokens.size());
    if (choice.most == 0 && model_) {
      state.from_model = choice.from_model = true;
      choice.most = state.draft.max_tokens;
      choice.num_missing = model_->num_missing(request->sequence, false);
      choice.num_missing_latest = model_->num_missing(request->sequence, true);
      choice.expected_rest = expected_rest(request->sequence);
    }
    // What is behind a request's end is worth nothing: clients stop where it pleases them.
    state.wanted = lengths_.wanted_chances(request->sequence.num_output_tokens());
    const Acceptance& acceptance = acceptance_of(state);
    choice.likely = product(acceptance.likely_chances(), state.wanted);
    choice.hopeful = product(acceptance.hopeful_chances(), state.wanted);
    choices_.push_back(choice);
  }
}

void Speculation::choose_depths() {
  policy_.choose(choices_, outlook());
  for (std::size_t i = 0; i < candidates_.size(); ++i) {
    Draft& draft = candidates_[i]->drafts.draft;
    const auto depth = static_cast<std::size_t>(choices_[i].depth);
    draft.max_tokens = choices_[i].depth;
    draft.from_latest = choices_[i].from_latest;
    if (draft.tokens.size() > depth) draft.tokens.resize(depth);
  }
  stats_.depth = policy_.depth();
  stats_.predicted_speedup =
      policy_.plain_tok_s() > 0 ? policy_.promised_tok_s() / policy_.plain_tok_s() : 1;
}

void Speculation::ask_model() {
  passes_ns_ = 0;
  if (!model_) return;
  asked_.clear();
  for (RequestState* request : candidates_) {
    DraftState& state = request->drafts;
    if (state.from_model && state.draft.max_tokens > 0) asked_.push_back(&state.draft);
  }
  if (asked_.empty()) return;
  model_->propose(asked_);
  for (const auto& pass : model_->passes()) {
    policy_.on_draft_pass(pass.num_rows, static_cast<double>(pass.duration_ns) * 1e-9,
                          pass.ran_prepared);
    passes_ns_ += pass.duration_ns;
  }
}

void Speculation::on_step(const Batch& batch, const StepTime& time) {
  stats_.num_draft_tokens += batch.num_draft_tokens;
  const double num_gained = std::exchange(num_gained_, 0);
  policy_.on_step({batch.num_tokens(), static_cast<double>(time.step_ns) * 1e-9,
                   batch.num_draft_tokens, num_gained, time.ran_prepared,
                   batch.num_prefill_tokens});
  if (batch.num_draft_tokens == 0) {
    held_up_ns_ += time.drafting_ns;
  } else if (time.ran_prepared) {
    const std::int64_t turnaround_ns =
        time.drafting_ns - passes_ns_ + std::exchange(held_up_ns_, 0);
    num_asked_in_vain_ = 0;
    policy_.on_turnaround(static_cast<double>(turnaround_ns) * 1e-9);
  }
}

void Speculation::on_judged(DraftState& state, int place, bool accepted) {
  Acceptance& all = acceptance_of_all(state);
  if (state.acceptance()) state.acceptance()->observe(place, accepted);
  all.observe(place, accepted);
  stats_.acceptance = all.overall_rate();
  if (!accepted) return;
  ++stats_.num_accepted_tokens;
  num_gained_ += static_cast<double>(state.wanted[static_cast<std::size_t>(place)]);
}

void Speculation::forget(const Sequence& sequence) {
  lengths_.observe(sequence.num_output_tokens());
  if (lookup_) lookup_->forget(sequence.id);
  if (model_) model_->forget(sequence.id);
}

void Speculation::clear_prefixes() {
  if (model_) model_->clear_prefixes();
}

std::int64_t Speculation::draft_model_bytes() const {
  if (!model_) return 0;
  return model_->model().weights.size_bytes() + model_->kv_cache_bytes() +
         model_->activations_bytes();
}

}  // namespace iol
