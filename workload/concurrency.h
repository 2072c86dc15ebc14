#pragma once
// How many requests are in flight at a time, and the tokens they hold, if each takes as long as a
// given service says and none ever waits.
#include <cstdint>
#include <queue>
#include <vector>

namespace iol {

/// How long a request takes: ttft + tpot * (output tokens - 1).
struct ServiceTimes {
  double ttft_ms = 200;
  double tpot_ms = 25;
};

/// Shares of time, not of requests.
struct ConcurrencySummary {
  double mean = 0;
  std::int64_t p50 = 0;
  std::int64_t p95 = 0;
  std::int64_t p99 = 0;
  std::int64_t max = 0;
  double mean_tokens = 0;  // input and whole output of the requests in flight
  double max_tokens = 0;
};

class Concurrency {
 public:
  explicit Concurrency(const ServiceTimes& times) : times_(times) {}
  /// In order of time. Throws InputError beyond 2^24 requests in flight at once.
  void add(std::int64_t t_ns, std::int64_t input_tokens, std::int64_t output_tokens);
  /// From the first arrival until the last request has ended.
  [[nodiscard]] ConcurrencySummary summary();

 private:
  struct Running {
    std::int64_t end_ns;
    std::int64_t tokens;
    bool operator>(const Running& other) const { return end_ns > other.end_ns; }
  };

  void advance(std::int64_t t_ns);
  void finish_until(std::int64_t t_ns);

  ServiceTimes times_;
  std::priority_queue<Running, std::vector<Running>, std::greater<>> running_;
  std::vector<double> time_at_;  // [requests in flight] ns
  std::int64_t now_ns_ = 0;
  bool started_ = false;
  double tokens_ = 0;
  double token_time_ = 0;
  ConcurrencySummary result_;
};

}  // namespace iol
