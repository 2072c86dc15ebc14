#include "bench/load_generator.h"

#include <sys/prctl.h>
#include <time.h>

#include <cerrno>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <optional>

#include "base/clock.h"
#include "bench/engine_target.h"
#include "report/statistics.h"

namespace iol::bench {
namespace {

using nlohmann::json;

/// Sleeps until `t_ns` of now_ns(), which is CLOCK_MONOTONIC.
void sleep_until(std::int64_t t_ns) {
  timespec until{};
  until.tv_sec = t_ns / 1'000'000'000;
  until.tv_nsec = t_ns % 1'000'000'000;
  while (::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr) == EINTR) {
  }
}

double thread_processor_seconds() {
  timespec used{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) * 1e-9;
}

/// Lets this thread wake within a microsecond of when it asked to, while it lives.
class PreciseTimers {
 public:
  PreciseTimers() : slack_(::prctl(PR_GET_TIMERSLACK)) { ::prctl(PR_SET_TIMERSLACK, 1000); }
  ~PreciseTimers() {
    if (slack_ > 0) ::prctl(PR_SET_TIMERSLACK, slack_);
  }
  PreciseTimers(const PreciseTimers&) = delete;
  PreciseTimers& operator=(const PreciseTimers&) = delete;

 private:
  int slack_;
};

/// The state that the callbacks of one load share. Ends come from the target's threads, beginnings
/// from the caller's as well: the mutex orders them.
class LoadRun {
 public:
  LoadRun(LoadTarget& target, const Load& load,
          const std::function<void(std::int64_t)>& on_completed)
      : target_(target), load_(load), on_completed_(on_completed) {
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
    if (load_.concurrency > 0) {
      for (int i = 0; i < load_.concurrency; ++i) send_next();
    } else {
      send_when_due();
    }
    std::unique_lock lock(mutex_);
    all_ended_.wait(lock, [&] { return num_reported_ == load_.requests.size(); });
    if (!generator_.is_null()) result_.details["generator"] = std::move(generator_);
    return std::move(result_);
  }

 private:
  /// Sends the next request that the target takes; the refused ones before it have ended.
  void send_next() {
    while (const auto index = take_next()) {
      auto& result = result_.requests[*index];
      result.start_ns = result.intended_start_ns = now_ns();
      const auto refusal = target_.send(load_.requests[*index], result, [this] {
        send_next();
        count_end();
      });
      if (!refusal) return;
      result.error = refusal;
      count_end();
    }
  }

  std::optional<std::size_t> take_next() {
    const std::lock_guard lock(mutex_);
    if (next_ == load_.requests.size()) return std::nullopt;
    return next_++;
  }

  void send_when_due() {
    const PreciseTimers timers;
    const double processor_s = thread_processor_seconds();
    std::vector<double> lateness_ms;
    lateness_ms.reserve(load_.requests.size());
    std::int64_t in_flight_max = 0;
    for (std::size_t i = 0; i < load_.requests.size(); ++i) {
      auto& result = result_.requests[i];
      result.intended_start_ns = result_.start_ns + load_.requests[i].due_ns;
      wait_until(result.intended_start_ns);
      result.start_ns = now_ns();
      lateness_ms.push_back(static_cast<double>(result.start_ns - result.intended_start_ns) * 1e-6);
      if (const auto refusal = target_.send(load_.requests[i], result, [this] { count_end(); })) {
        result.error = refusal;
        count_end();
      }
      in_flight_max = std::max(in_flight_max, static_cast<std::int64_t>(i) + 1 - num_ended_);
    }
    describe_generator(std::move(lateness_ms), thread_processor_seconds() - processor_s,
                       in_flight_max);
  }

  /// In short sleeps, so that a cancellation is seen.
  void wait_until(std::int64_t t_ns) const {
    constexpr std::int64_t kLongestSleepNs = 100'000'000;
    for (auto now = now_ns(); now < t_ns && !target_.is_cancelled(); now = now_ns()) {
      sleep_until(std::min(t_ns, now + kLongestSleepNs));
    }
  }

  void describe_generator(std::vector<double> lateness_ms, double processor_s,
                          std::int64_t in_flight_max) {
    if (lateness_ms.empty()) return;
    std::sort(lateness_ms.begin(), lateness_ms.end());
    generator_ = {{"lateness_p50_ms", report::nearest_rank(lateness_ms, 50)},
                  {"lateness_p99_ms", report::nearest_rank(lateness_ms, 99)},
                  {"lateness_max_ms", lateness_ms.back()},
                  {"processor_s", processor_s},
                  {"in_flight_max", in_flight_max}};
  }

  void count_end() {
    const std::int64_t completed = ++num_ended_;
    const auto total = static_cast<std::int64_t>(load_.requests.size());
    if (completed == total) result_.end_ns = now_ns();
    if (on_completed_) on_completed_(completed);
    // Last: once the waiting thread has seen the end, this object may be gone.
    const std::lock_guard lock(mutex_);
    if (++num_reported_ == load_.requests.size()) all_ended_.notify_all();
  }

  LoadTarget& target_;
  const Load& load_;
  const std::function<void(std::int64_t)>& on_completed_;
  RunResult result_;
  json generator_;  // of an open loop
  std::mutex mutex_;
  std::condition_variable all_ended_;
  std::size_t next_ = 0;
  std::atomic<std::int64_t> num_ended_ = 0;
  std::size_t num_reported_ = 0;
};

}  // namespace

RunResult run_load(LoadTarget& target, const Load& load,
                   const std::function<void(std::int64_t)>& on_completed) {
  return LoadRun(target, load, on_completed).run();
}

RunResult run_load(Engine& engine, const Load& load,
                   const std::function<void(std::int64_t)>& on_completed) {
  EngineTarget target(engine);
  auto result = run_load(target, load, on_completed);
  engine.drain();
  return result;
}

}  // namespace iol::bench
