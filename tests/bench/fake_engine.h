#pragma once
// An engine without a model: every step gives each running request its next token, a function of
// its prompt and position.
#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <set>
#include <thread>

#include "base/clock.h"
#include "base/error.h"
#include "engine/engine.h"

namespace iol::bench {

class FakeEngine : public Engine {
 public:
  explicit FakeEngine(EngineConfig config) : config_(std::move(config)) {
    thread_ = std::thread([this] { loop(); });
  }
  ~FakeEngine() override {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    thread_.join();
  }

  static std::int32_t token(const std::vector<std::int32_t>& prompt, int position) {
    return (prompt.front() * 31 + position * 7) % 1000;
  }

  RequestId submit(Request request, TokenCallback on_token) override {
    if (request.prompt_tokens.empty()) throw_input_error("the prompt is empty");
    const std::lock_guard lock(mutex_);
    waiting_.push_back({next_id_, std::move(request), std::move(on_token), 0});
    most_under_way = std::max(most_under_way, ++under_way_);
    ++num_held_;
    longest_limit = std::max(longest_limit, waiting_.back().request.sampling.max_tokens);
    wake_.notify_all();
    return next_id_++;
  }
  void cancel(RequestId request) override {
    const std::lock_guard lock(mutex_);
    cancelled_.insert(request);
    ++num_cancelled;
    --under_way_;
  }
  void drain() override {
    std::unique_lock lock(mutex_);
    idle_.wait(lock, [&] { return num_held_ == 0; });
  }
  [[nodiscard]] EngineStats stats() const override { return stats_; }
  [[nodiscard]] EngineMemory memory() const override { return {1000, 200, 30}; }
  void on_step(std::function<void(const StepRecord&)>) override {}
  void clear_prefix_cache() override { ++num_prefix_clears; }
  [[nodiscard]] const EngineConfig& config() const override { return config_; }
  [[nodiscard]] const ModelConfig& model_config() const override { return model_config_; }
  [[nodiscard]] const Tokenizer* tokenizer() const override { return nullptr; }
  [[nodiscard]] std::string backend_name() const override { return "fake"; }

  int most_under_way = 0;
  int num_cancelled = 0;
  int longest_limit = 0;
  int num_prefix_clears = 0;
  std::int32_t failing_first_token = -1;  // a request whose prompt begins with this fails

 private:
  struct Running {
    RequestId id;
    Request request;
    TokenCallback on_token;
    int num_tokens;
  };

  void loop() {
    std::unique_lock lock(mutex_);
    while (true) {
      wake_.wait(lock, [&] { return stopping_ || !waiting_.empty(); });
      if (stopping_) return;
      std::deque<Running> step = std::exchange(waiting_, {});
      lock.unlock();
      std::deque<Running> unfinished;
      int num_ended = 0;
      for (auto& running : step) {
        if (answer_cancellation(running) || give_token(running)) {
          ++num_ended;
        } else {
          unfinished.push_back(std::move(running));
        }
      }
      lock.lock();
      num_held_ -= num_ended;
      if (num_held_ == 0) idle_.notify_all();
      ++stats_.num_steps;
      waiting_.insert(waiting_.begin(), std::make_move_iterator(unfinished.begin()),
                      std::make_move_iterator(unfinished.end()));
    }
  }

  bool answer_cancellation(Running& running) {
    {
      const std::lock_guard lock(mutex_);
      if (cancelled_.erase(running.id) == 0) return false;
    }
    TokenEvent event;
    event.request = running.id;
    event.finish_reason = FinishReason::kCancelled;
    running.on_token(event);
    return true;
  }

  bool give_token(Running& running) {
    TokenEvent event;
    event.request = running.id;
    event.time_ns = now_ns();
    if (running.request.prompt_tokens.front() == failing_first_token) {
      event.finish_reason = FinishReason::kError;
      event.error = "the step failed";
    } else {
      event.token = token(running.request.prompt_tokens, running.num_tokens++);
      if (running.num_tokens == running.request.sampling.max_tokens) {
        event.finish_reason = FinishReason::kLength;
      }
    }
    if (event.finish_reason) {
      const std::lock_guard lock(mutex_);
      --under_way_;
    }
    running.on_token(event);
    return event.finish_reason.has_value();
  }

  EngineConfig config_;
  ModelConfig model_config_;
  EngineStats stats_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable idle_;
  std::set<RequestId> cancelled_;
  int num_held_ = 0;
  std::deque<Running> waiting_;
  RequestId next_id_ = 1;
  int under_way_ = 0;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace iol::bench
