#include "engine/engine_loop.h"

#include <algorithm>
#include <utility>

#include "base/clock.h"
#include "base/error.h"
#include "base/random.h"
#include "engine/cache_config.h"
#include "engine/speculation_limits.h"
#include "model/transformer.h"

namespace iol {
namespace {

// Who waits so long for the device was there before the device was through.
constexpr std::int64_t kSurelyWaitedNs = 5000;

}  // namespace

EngineLoop::EngineLoop(EngineConfig config, LoadedModel model, std::optional<DraftModel> draft)
    : config_(std::move(config)),
      model_(std::move(model)),
      cache_(model_.backend->make_kv_cache(cache_shape(config_, model_))),
      activations_(model_.backend->make_activations(
          transformer_shape(model_.config), config_.max_step_tokens, most_logit_rows(config_))),
      blocks_(tables_config(config_, cache_->shape())),
      scheduler_({config_.scheduler, config_.max_batch, config_.max_step_tokens,
                  config_.max_context, most_step_drafts(config_)},
                 blocks_),
      sampler_(model_.config.eos_token_ids),
      stop_checker_(model_.config.eos_token_ids, config_.max_context) {
  stats_.num_blocks = cache_->shape().num_blocks;
  if (config_.preemption == PreemptionMode::kSwap) {
    stats_.num_swap_slots = blocks_.num_swap_slots();
    swap_space_ = model_.backend->make_swap_space(*cache_, stats_.num_swap_slots);
    IOL_CHECK(swap_space_ != nullptr);
  }
  if (config_.speculation.enabled()) {
    std::unique_ptr<ModelDrafter> drafter;
    if (draft) {
      drafter = std::make_unique<ModelDrafter>(
          std::move(*draft), *model_.backend,
          ModelDrafterConfig{cache_->shape().num_blocks, config_.block_size, config_.prefix_cache,
                             config_.max_step_tokens, config_.max_batch});
    }
    speculation_.emplace(config_.speculation, std::move(drafter), scheduler_);
    // Drafts give steps many forms, each of which comes for a first time.
    if (config_.speculation.depth != 0) {
      prepare_forward(model_.config, model_.weights, *model_.backend, *activations_, *cache_,
                      {config_.max_batch, most_logit_rows(config_), config_.max_context});
    }
  }
  thread_ = std::thread([this] { run(); });
}

EngineLoop::~EngineLoop() {
  inbox_.stop();
  thread_.join();
}

RequestId EngineLoop::submit(Request request, TokenCallback on_token) {
  if (const std::string why = device_error(); !why.empty()) throw DeviceError(why);
  const auto num_prompt_tokens = static_cast<int>(request.prompt_tokens.size());
  if (num_prompt_tokens == 0) throw_input_error("the prompt is empty; give at least one token");
  if (num_prompt_tokens > config_.max_context) {
    throw_input_error("the prompt has {} tokens, the context {}; shorten the prompt",
                      num_prompt_tokens, config_.max_context);
  }
  for (const auto token : request.prompt_tokens) {
    if (token < 0 || token >= model_.config.vocab_size) {
      throw_input_error("prompt token {} is outside the vocabulary of {}", token,
                        model_.config.vocab_size);
    }
  }
  request.sampling.validate(model_.config.vocab_size);
  if (!request.sampling.stop.empty() && !model_.tokenizer) {
    throw_input_error("stop strings need a tokenizer, and '{}' has none; use stop token ids",
                      model_.name);
  }
  const int positions =
      scheduler_.max_cached_positions(num_prompt_tokens, request.sampling.max_tokens);
  if (!scheduler_.can_ever_fit(positions)) {
    throw_input_error(
        "the request may hold {} positions, the KV cache {}; raise --kv-cache-tokens or lower "
        "max_tokens",
        positions, std::int64_t{cache_->shape().num_blocks} * config_.block_size);
  }
  Sequence sequence;
  sequence.id = next_request_.fetch_add(1);
  sequence.seed = request.sampling.seed.value_or(random_bits(config_.seed, 0, sequence.id));
  sequence.has_own_seed = request.sampling.seed.has_value();
  sequence.sampling = std::move(request.sampling);
  sequence.priority = request.priority;
  sequence.speculates = request.speculates;
  sequence.tokens = std::move(request.prompt_tokens);
  sequence.num_prompt_tokens = num_prompt_tokens;
  const RequestId id = sequence.id;
  inbox_.submit(std::make_unique<RequestState>(std::move(sequence), std::move(on_token),
                                               model_.tokenizer.get()));
  return id;
}

void EngineLoop::run() {
  while (true) {
    const bool waits = active_.empty();
    Inbox::Contents mail = inbox_.take(waits);
    if (waits) clock_.on_idle(now_ns());
    const bool stopping = mail.stopping;
    accept(std::move(mail));
    if (stopping) break;
    try {
      if (!active_.empty()) step();
    } catch (const std::exception& error) {  // the scheduler itself: nobody can go on
      fail_all(error.what());
    }
    if (const std::string why = device_error(); !why.empty()) fail_all(why);
    if (active_.empty()) catch_up();
    count_sequences();
    inbox_.set_num_active(active_.size());
  }
  catch_up();
  while (!active_.empty()) cancel_now(active_.begin()->first);
  inbox_.set_num_active(0);
}

void EngineLoop::accept(Inbox::Contents mail) {
  if (mail.clear_prefixes) {
    blocks_.clear_prefixes();
    if (speculation_) speculation_->clear_prefixes();
  }
  for (auto& request : mail.submitted) {
    Sequence& sequence = request->sequence;
    sequence.arrival_index = num_arrived_++;
    scheduler_.add(sequence);
    active_.emplace(sequence.id, std::move(request));
  }
  for (const RequestId request : mail.cancelled) cancel_now(request);
}

/// On a device that runs ahead, a step is begun before the one before it is finished: the host
/// reads tokens, applies stops and delivers while the device computes. A sequence that turns out to
/// have ended is then computed once more, and what comes of it is thrown away.
void EngineLoop::step() {
  StepRecord record;
  record.start_ns = now_ns();
  forward_ns_ = 0;
  if (speculation_) propose_drafts(record);
  const std::int64_t start_ns = now_ns();
  const Batch& batch = scheduler_.schedule();
  record.num_prefill_tokens = batch.num_prefill_tokens;
  record.num_decode_tokens = batch.num_decode_tokens;
  record.num_draft_tokens = batch.num_draft_tokens;
  swap_blocks(record);
  std::optional<StepUnderWay> next = begin(batch);
  const bool begun = next.has_value();
  if (next) next->start_ns = start_ns;
  catch_up();
  if (next) {
    next->drop_ended(active_);
    scheduler_.on_step_done(next->batch);
    if (may_run_ahead_of(*next)) {
      leave_placeholders(*next);
      under_way_ = std::move(next);
    } else {
      finish(*next);
    }
  }
  if (!begun) return;
  if (speculation_) {
    speculation_->on_asked(asking_ns_, forward_ns_ > kSurelyWaitedNs);
    record.num_accepted_draft_tokens += speculation_->stats().num_accepted_tokens;
  }
  record_step(record);
}

/// Drafts continue the tokens of the step before, so it is finished first. While none are expected
/// the engine goes on running ahead.
void EngineLoop::propose_drafts(StepRecord& record) {
  asking_ns_ = 0;
  if (under_way_) {
    const bool waits = speculation_->expects_drafts(active_);
    asking_ns_ = now_ns() - record.start_ns;
    if (waits) {
      catch_up();
      clock_.on_waiting();
    }
  }
  record.num_accepted_draft_tokens = -speculation_->stats().num_accepted_tokens;
  if (!under_way_) speculation_->propose(active_);
  record.draft_depth = speculation_->stats().depth;
  record.predicted_speedup = speculation_->stats().predicted_speedup;
  record.draft_ns = speculation_->last_draft_ns();
}

/// Of a step that isn't begun, too: its blocks have been given to others. When a copy fails, blocks
/// that the index knows may hold anything.
void EngineLoop::swap_blocks(StepRecord& record) {
  const SwapCopies& copies = blocks_.swap_copies();
  if (copies.empty()) return;
  record.num_swapped_out_blocks = static_cast<int>(copies.out.size());
  record.num_swapped_in_blocks = static_cast<int>(copies.in.size());
  try {
    swap_space_->copy_out(copies.out);
    swap_space_->copy_in(copies.in);
  } catch (const std::exception& error) {
    blocks_.clear_swap_copies();
    blocks_.clear_prefixes();
    if (dynamic_cast<const DeviceError*>(&error) != nullptr) lose_device(error.what());
    throw;
  }
  blocks_.clear_swap_copies();
  const std::lock_guard lock(stats_mutex_);
  stats_.num_swapped_out_blocks += record.num_swapped_out_blocks;
  stats_.num_swapped_in_blocks += record.num_swapped_in_blocks;
}

std::optional<StepUnderWay> EngineLoop::begin(const Batch& batch) {
  if (batch.empty()) return {};
  StepUnderWay step(batch);
  step.begin_ns = now_ns();
  try {
    begin_forward(model_.config, model_.weights, *model_.backend, *activations_, *cache_,
                  step_builder_.build(batch));
  } catch (const std::exception& error) {
    catch_up();
    fail(step, error);
    return {};
  }
  step.ran_prepared = model_.backend->ran_prepared();
  clock_.on_begun(step, now_ns());
  if (!model_.backend->runs_ahead()) forward_ns_ += step.beginning_ns;
  return step;
}

void EngineLoop::catch_up() {
  if (!under_way_) return;
  const StepUnderWay step = std::move(*under_way_);
  under_way_.reset();
  finish(step);
}

void EngineLoop::finish(const StepUnderWay& step) {
  const std::int64_t start_ns = now_ns();
  try {
    model_.backend->finish_step(*activations_);
    const std::int64_t end_ns = now_ns();
    clock_.on_ended(step, end_ns);
    forward_ns_ += end_ns - start_ns;
    sample(step);
    if (speculation_) count_time(step);
  } catch (const std::exception& error) {
    fail(step, error);
  }
  clock_.on_done(now_ns());
}

void EngineLoop::count_time(const StepUnderWay& step) {
  const std::int64_t end_ns = now_ns();
  if (model_.backend->runs_ahead()) {
    speculation_->on_step(step.batch, clock_.time_of(step, end_ns));
  } else {  // only drafting is more than what every step takes
    const std::int64_t drafting_ns =
        step.batch.num_draft_tokens > 0 ? speculation_->last_draft_ns() : 0;
    speculation_->on_step(step.batch, {end_ns - step.start_ns, drafting_ns, step.ran_prepared});
  }
}

bool EngineLoop::may_run_ahead_of(const StepUnderWay& step) const {
  return model_.backend->runs_ahead() && step.batch.num_draft_tokens == 0 &&
         std::ranges::all_of(step.batch.sequences, [&](const ScheduledSequence& scheduled) {
           return !scheduled.needs_logits || is_chosen(scheduled);
         });
}

void EngineLoop::leave_placeholders(StepUnderWay& step) {
  for (std::size_t i = 0; i < step.batch.sequences.size(); ++i) {
    const ScheduledSequence& scheduled = step.batch.sequences[i];
    if (!scheduled.needs_logits) continue;
    Sequence& sequence = *scheduled.sequence;
    sequence.draft_tokens.clear();  // for which the step had no room
    sequence.tokens.push_back(placeholder_token(step.logit_rows[i]));
    sequence.has_placeholder = true;
    sequence.awaits_last_token = stop_checker_.reaches_limit(sequence);
  }
}

TokenEvent EngineLoop::end_event(FinishReason reason, std::string error) {
  TokenEvent event;
  event.finish_reason = reason;
  event.error = std::move(error);
  return event;
}

void EngineLoop::end(RequestState& state, TokenEvent event) {
  scheduler_.remove(state.sequence);
  if (speculation_) speculation_->forget(state.sequence);
  const auto owner = active_.extract(state.sequence.id);  // outlives the callback
  deliver(state, event);
}

void EngineLoop::fail(const StepUnderWay& step, const std::exception& error) {
  if (dynamic_cast<const DeviceError*>(&error) != nullptr) lose_device(error.what());
  for (const RequestId request : step.requests) {
    const auto found = active_.find(request);
    if (found == active_.end()) continue;
    end(*found->second, end_event(FinishReason::kError, error.what()));
  }
}

void EngineLoop::lose_device(const std::string& message) {
  const std::lock_guard lock(stats_mutex_);
  if (stats_.device_error.empty()) {
    stats_.device_error =
        message +
        "; the engine takes no more requests: restart the program to use the device again";
  }
}

std::string EngineLoop::device_error() const {
  const std::lock_guard lock(stats_mutex_);
  return stats_.device_error;
}

void EngineLoop::fail_all(const std::string& message) {
  while (!active_.empty()) {
    end(*active_.begin()->second, end_event(FinishReason::kError, message));
  }
}

void EngineLoop::cancel_now(RequestId request) {
  const auto found = active_.find(request);
  if (found != active_.end()) end(*found->second, end_event(FinishReason::kCancelled));
}

void EngineLoop::record_step(StepRecord record) {
  record.duration_ns = now_ns() - record.start_ns;
  record.host_ns = record.duration_ns - forward_ns_ - record.draft_ns;
  record.num_running = scheduler_.num_running();
  record.num_waiting = scheduler_.num_waiting();
  record.num_blocks_used = blocks_.num_blocks_used();
  std::function<void(const StepRecord&)> observer;
  {
    const std::lock_guard lock(stats_mutex_);
    ++stats_.num_steps;
    stats_.prompt_tokens += record.num_prefill_tokens;
    stats_.cached_tokens = blocks_.prefix_stats().num_hit_tokens;
    stats_.num_preemptions = scheduler_.num_preemptions();
    stats_.step_ns += record.duration_ns;
    stats_.host_ns += record.host_ns;
    if (speculation_) {
      const SpeculationStats& speculation = speculation_->stats();
      stats_.num_draft_tokens = speculation.num_draft_tokens;
      stats_.num_accepted_draft_tokens = speculation.num_accepted_tokens;
      stats_.draft_ns = speculation.draft_ns;
      stats_.draft_acceptance = speculation.acceptance;
      stats_.predicted_speedup = speculation.predicted_speedup;
      stats_.draft_depth = speculation.depth;
      stats_.draft_error = speculation.error;
    }
    observer = observer_;
  }
  if (observer) observer(record);
}

/// Before drain() may return: whoever waits there sees the blocks of ended requests free.
void EngineLoop::count_sequences() {
  const std::lock_guard lock(stats_mutex_);
  stats_.num_running = scheduler_.num_running();
  stats_.num_waiting = scheduler_.num_waiting();
  stats_.num_blocks_used = blocks_.num_blocks_used();
  stats_.num_swap_slots_used = blocks_.num_swap_slots_used();
}

EngineStats EngineLoop::stats() const {
  const std::lock_guard lock(stats_mutex_);
  return stats_;
}

EngineMemory EngineLoop::memory() const {
  EngineMemory memory;
  memory.weights_bytes = model_.weights.size_bytes();
  memory.kv_cache_bytes =
      static_cast<std::int64_t>(cache_->shape().block_bytes()) * cache_->shape().num_blocks;
  memory.activations_bytes = static_cast<std::int64_t>(activations_->size_bytes());
  if (swap_space_) memory.swap_space_bytes = static_cast<std::int64_t>(swap_space_->size_bytes());
  if (speculation_) memory.draft_model_bytes = speculation_->draft_model_bytes();
  return memory;
}

void EngineLoop::on_step(std::function<void(const StepRecord&)> observer) {
  const std::lock_guard lock(stats_mutex_);
  observer_ = std::move(observer);
}

}  // namespace iol
