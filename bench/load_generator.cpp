#include "bench/load_generator.h"

#include <condition_variable>
#include <mutex>
#include <optional>

#include "base/clock.h"

namespace iol::bench {
namespace {

/// The state that the callbacks of one closed loop share. Callbacks come from the engine's thread,
/// the first requests from the caller's: the mutex orders the two.
class ClosedLoop {
 public:
  ClosedLoop(Engine& engine, const Load& load,
             const std::function<void(std::int64_t)>& on_completed)
      : engine_(engine), load_(load), on_completed_(on_completed) {
    result_.requests.resize(load.requests.size());
    for (std::size_t i = 0; i < load.requests.size(); ++i) {
      // Reserved now, so that no memory is allocated for a token while the clock runs.
      const auto length = static_cast<std::size_t>(load.requests[i].output_tokens);
      result_.requests[i].id = load.requests[i].id;
      result_.requests[i].token_times_ns.reserve(length);
      result_.requests[i].tokens.reserve(length);
    }
  }

  RunResult run() {
    result_.start_ns = now_ns();
    for (int i = 0; i < load_.concurrency; ++i) submit_next();
    std::unique_lock lock(mutex_);
    all_ended_.wait(lock, [&] { return num_reported_ == load_.requests.size(); });
    return std::move(result_);
  }

 private:
  /// Sends the next request that the engine accepts; the refused ones before it have ended.
  void submit_next() {
    while (const auto index = take_next()) {
      if (submit(load_.requests[*index], result_.requests[*index])) return;
      count_end();
    }
  }

  std::optional<std::size_t> take_next() {
    const std::lock_guard lock(mutex_);
    if (next_ == load_.requests.size()) return std::nullopt;
    return next_++;
  }

  bool submit(const WorkloadRequest& wanted, RequestResult& result) {
    Request request;
    request.prompt_tokens = wanted.prompt_tokens;
    request.sampling.max_tokens = static_cast<int>(wanted.most_output_tokens());
    request.sampling.ignore_eos = true;
    result.start_ns = now_ns();
    result.intended_start_ns = result.start_ns;
    try {
      engine_.submit(std::move(request), [this, &wanted, &result](const TokenEvent& event) {
        receive(wanted, result, event);
      });
      return true;
    } catch (const Error& error) {
      result.error = error.what();
      return false;
    }
  }

  void receive(const WorkloadRequest& wanted, RequestResult& result, const TokenEvent& event) {
    const auto length = static_cast<std::size_t>(wanted.output_tokens);
    const bool had_all = result.tokens.size() == length;
    if (event.token && !had_all) {
      result.token_times_ns.push_back(now_ns());
      result.tokens.push_back(*event.token);
    }
    const bool has_all = result.tokens.size() == length;
    if (!event.finish_reason) {
      // Below its limit: it ends here, as an end-of-sequence token would end it. The engine's next
      // step is without it; what counts as its end for the loop is the answer to the cancellation.
      if (has_all && !had_all) {
        engine_.cancel(event.request);
        submit_next();
      }
      return;
    }
    if (*event.finish_reason == FinishReason::kError) {
      result.error = event.error.empty() ? "the step that held it failed" : event.error;
    } else if (*event.finish_reason == FinishReason::kCancelled && !has_all) {
      result.error = "cancelled";
    } else if (result.tokens.empty()) {
      result.error = "ended without a token";
    }
    if (!had_all) submit_next();
    count_end();
  }

  void count_end() {
    std::int64_t completed = 0;
    {
      const std::lock_guard lock(mutex_);
      completed = static_cast<std::int64_t>(++num_ended_);
      if (num_ended_ == load_.requests.size()) result_.end_ns = now_ns();
    }
    if (on_completed_) on_completed_(completed);
    // Last: once the waiting thread has seen the end, this object may be gone.
    const std::lock_guard lock(mutex_);
    if (++num_reported_ == load_.requests.size()) all_ended_.notify_all();
  }

  Engine& engine_;
  const Load& load_;
  const std::function<void(std::int64_t)>& on_completed_;
  RunResult result_;
  std::mutex mutex_;
  std::condition_variable all_ended_;
  std::size_t next_ = 0;
  std::size_t num_ended_ = 0;
  std::size_t num_reported_ = 0;
};

}  // namespace

RunResult run_closed_loop(Engine& engine, const Load& load,
                          const std::function<void(std::int64_t)>& on_completed) {
  return ClosedLoop(engine, load, on_completed).run();
}

}  // namespace iol::bench
