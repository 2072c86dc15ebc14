// What a finished step gives its requests: EngineLoop's choice, check and delivery of tokens.
#include "base/clock.h"
#include "base/error.h"
#include "engine/engine_loop.h"

namespace iol {

bool EngineLoop::is_chosen(const ScheduledSequence& scheduled) const {
  if (scheduled.is_judged_by_rejection()) return false;
  const Sequence& sequence = *scheduled.sequence;
  return model_.backend->samples() ? token_choice(sequence).has_value() : !needs_logits(sequence);
}

void EngineLoop::sample(const StepUnderWay& step) {
  for (std::size_t i = 0; i < step.batch.sequences.size(); ++i) {
    if (!step.batch.sequences[i].needs_logits) continue;
    const auto found = active_.find(step.requests[i]);
    if (found == active_.end()) continue;  // cancelled or at its end meanwhile
    RequestState& state = *found->second;
    Sequence& sequence = state.sequence;
    if (sequence.has_placeholder) sequence.tokens.pop_back();
    sequence.has_placeholder = false;
    try {
      take_tokens(state, step.batch.sequences[i], step.logit_rows[i]);
    } catch (const DeviceError&) {
      throw;
    } catch (const std::exception& error) {  // this request's logits alone are at fault
      end(state, end_event(FinishReason::kError, error.what()));
    }
  }
}

void EngineLoop::take_tokens(RequestState& state, const ScheduledSequence& scheduled,
                             int logit_row) {
  Sequence& sequence = state.sequence;
  bool goes_on = true;
  bool accepted = true;
  for (int i = 0; goes_on && accepted; ++i) {
    const bool judges = i < scheduled.num_drafts;
    const auto draft = static_cast<std::size_t>(i);
    SampledToken sampled =
        choose_token(state, scheduled, logit_row + i, judges ? std::optional(draft) : std::nullopt);
    accepted = judges && sampled.token == sequence.draft_tokens[draft];
    if (judges && speculation_->simulates()) {
      accepted = speculation_->accept_simulated();
      if (accepted) sampled.token = sequence.draft_tokens[draft];
    }
    if (judges) speculation_->on_judged(state.drafts, i, accepted);
    goes_on = publish_token(state, std::move(sampled), accepted);
  }
  if (goes_on && !sequence.draft_tokens.empty()) scheduler_.on_drafts_verified(scheduled);
}

SampledToken EngineLoop::choose_token(RequestState& state, const ScheduledSequence& scheduled,
                                      int logit_row, std::optional<std::size_t> draft) {
  const Sequence& sequence = state.sequence;
  if (is_chosen(scheduled)) {
    const std::int32_t token = model_.backend->chosen_token(*activations_, logit_row);
    if (token == kNoToken) throw_bad_logits();
    return {token, std::nullopt};
  }
  const auto logits = model_.backend->logits(*activations_, logit_row);
  const auto& drawn_from = state.drafts.draft.distributions;
  if (!draft || *draft >= drawn_from.size()) {
    return sampler_.sample(logits, sequence, state.sampler);
  }
  return sampler_.sample_with_draft(logits, sequence, state.sampler, sequence.draft_tokens[*draft],
                                    drawn_from[*draft]);
}

bool EngineLoop::publish_token(RequestState& state, SampledToken sampled, bool was_drafted) {
  Sequence& sequence = state.sequence;
  sequence.tokens.push_back(sampled.token);
  if (was_drafted) scheduler_.on_draft_accepted(sequence);
  TokenEvent event;
  event.was_drafted = was_drafted;
  event.token = sampled.token;
  event.logprobs = std::move(sampled.logprobs);
  event.finish_reason = stop_checker_.check(sequence);
  if (state.decoder) {
    // A stop token ends the text; any other token adds to it, and the text may end it.
    const bool may_stop = sequence.num_output_tokens() >= sequence.sampling.min_tokens;
    if (event.finish_reason != FinishReason::kStop) {
      event.text = state.stop_strings.push(state.decoder->push(sampled.token), may_stop);
    }
    if (event.finish_reason && !state.stop_strings.stopped()) {
      event.text += state.stop_strings.push(state.decoder->finish(), may_stop);
      event.text += state.stop_strings.finish();
    }
    if (state.stop_strings.stopped()) event.finish_reason = FinishReason::kStop;
  }
  {
    const std::lock_guard lock(stats_mutex_);
    ++stats_.generated_tokens;
  }
  if (event.finish_reason) {
    end(state, std::move(event));
    return false;
  }
  deliver(state, event);
  return true;
}

void EngineLoop::deliver(RequestState& state, const TokenEvent& event) {
  if (!state.on_token) return;
  TokenEvent delivered = event;
  delivered.request = state.sequence.id;
  delivered.time_ns = event.token ? clock_.end_ns() : now_ns();
  state.on_token(delivered);
}

}  // namespace iol
