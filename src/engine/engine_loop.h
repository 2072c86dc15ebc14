#pragma once
#include <atomic>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>

#include "engine/engine.h"
#include "engine/inbox.h"
#include "engine/loaded_model.h"
#include "engine/speculation.h"
#include "engine/step_builder.h"
#include "engine/step_clock.h"
#include "engine/step_under_way.h"
#include "kv_cache/block_tables.h"
#include "sampler/sampler.h"
#include "sampler/stop_checker.h"
#include "scheduler/scheduler.h"
#include "speculative/model_drafter.h"

namespace iol {

/// The engine: one thread that runs step() for as long as there are requests. Everything below the
/// inbox belongs to that thread alone.
class EngineLoop final : public Engine {
 public:
  /// `config` has its defaults filled in.
  EngineLoop(EngineConfig config, LoadedModel model, std::optional<DraftModel> draft = {});
  ~EngineLoop() override;

  RequestId submit(Request request, TokenCallback on_token) override;
  void cancel(RequestId request) override { inbox_.cancel(request); }
  void drain() override { inbox_.wait_until_idle(); }
  [[nodiscard]] EngineStats stats() const override;
  [[nodiscard]] EngineMemory memory() const override;
  void on_step(std::function<void(const StepRecord&)> observer) override;
  void clear_prefix_cache() override { inbox_.clear_prefixes(); }
  [[nodiscard]] const EngineConfig& config() const override { return config_; }
  [[nodiscard]] const ModelConfig& model_config() const override { return model_.config; }
  [[nodiscard]] const Tokenizer* tokenizer() const override { return model_.tokenizer.get(); }
  [[nodiscard]] std::string backend_name() const override { return model_.backend->name(); }

 private:
  void run();
  void accept(Inbox::Contents mail);
  void step();
  /// Asks drafters, where the step under way need not be finished for it or is worth it.
  void propose_drafts(StepRecord& record);
  /// Has the contents of preempted and readmitted sequences' blocks copied before the next step.
  void swap_blocks(StepRecord& record);
  /// Starts the forward pass; nothing when it could not be started.
  std::optional<StepUnderWay> begin(const Batch& batch);
  /// Waits for a step and gives its sequences their tokens.
  void finish(const StepUnderWay& step);
  /// Finishes the step under way, if there is one.
  void catch_up();
  void leave_placeholders(StepUnderWay& step);
  [[nodiscard]] bool may_run_ahead_of(const StepUnderWay& step) const;
  /// True when the backend has chosen the sequence's next token.
  [[nodiscard]] bool is_chosen(const ScheduledSequence& scheduled) const;
  void sample(const StepUnderWay& step);
  /// One token, and one more for each draft that it confirms.
  void take_tokens(RequestState& state, const ScheduledSequence& scheduled, int logit_row);
  /// `draft`: the index of the draft that the row judges; nothing: none is left.
  SampledToken choose_token(RequestState& state, const ScheduledSequence& scheduled, int logit_row,
                            std::optional<std::size_t> draft);
  /// False when it was the request's last.
  bool publish_token(RequestState& state, SampledToken sampled, bool was_drafted);
  /// The last event of a request that ends without a token.
  [[nodiscard]] static TokenEvent end_event(FinishReason reason, std::string error = {});
  void end(RequestState& state, TokenEvent event);
  /// Ends the requests of a step that failed, and with a lost device the engine.
  void fail(const StepUnderWay& step, const std::exception& error);
  void lose_device(const std::string& message);
  [[nodiscard]] std::string device_error() const;
  void fail_all(const std::string& message);
  void cancel_now(RequestId request);
  void deliver(RequestState& state, const TokenEvent& event);
  /// Shows the cost model what a step took.
  void count_time(const StepUnderWay& step);
  void record_step(StepRecord record);
  void count_sequences();

  const EngineConfig config_;
  LoadedModel model_;
  std::unique_ptr<KvCache> cache_;
  std::unique_ptr<KvSwapSpace> swap_space_;  // null: preempted sequences are recomputed
  std::unique_ptr<Activations> activations_;
  BlockTables blocks_;
  Scheduler scheduler_;
  Sampler sampler_;
  StopChecker stop_checker_;
  StepBuilder step_builder_;
  std::optional<Speculation> speculation_;
  std::optional<StepUnderWay> under_way_;  // not finished yet; only on devices that run ahead
  std::unordered_map<RequestId, std::unique_ptr<RequestState>> active_;
  std::uint64_t num_arrived_ = 0;
  std::int64_t forward_ns_ = 0;  // of the step at hand
  std::int64_t asking_ns_ = 0;   // whether drafts are to be expected
  StepClock clock_;

  std::atomic<RequestId> next_request_{1};
  mutable std::mutex stats_mutex_;
  EngineStats stats_;
  std::function<void(const StepRecord&)> observer_;
  Inbox inbox_;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace iol
