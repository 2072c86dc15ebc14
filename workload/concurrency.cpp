#include "workload/concurrency.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace iol {
namespace {

constexpr std::size_t kMostInFlight = std::size_t{1} << 24;
constexpr double kLongestNs = 4e18;  // a century; keeps the end of a request inside 64 bits

}  // namespace

void Concurrency::advance(std::int64_t t_ns) {
  const auto elapsed = static_cast<double>(t_ns - now_ns_);
  if (running_.size() >= time_at_.size()) time_at_.resize(running_.size() + 1);
  time_at_[running_.size()] += elapsed;
  token_time_ += tokens_ * elapsed;
  now_ns_ = t_ns;
}

void Concurrency::finish_until(std::int64_t t_ns) {
  while (!running_.empty() && running_.top().end_ns <= t_ns) {
    advance(running_.top().end_ns);
    tokens_ -= static_cast<double>(running_.top().tokens);
    running_.pop();
  }
}

void Concurrency::add(std::int64_t t_ns, std::int64_t input_tokens, std::int64_t output_tokens) {
  if (!started_) now_ns_ = t_ns;
  started_ = true;
  finish_until(t_ns);
  advance(t_ns);
  const double further = static_cast<double>(std::max<std::int64_t>(output_tokens - 1, 0));
  const double duration_ms = times_.ttft_ms + times_.tpot_ms * further;
  const std::int64_t tokens = input_tokens + output_tokens;
  running_.push({t_ns + std::llround(std::min(duration_ms * 1e6, kLongestNs)), tokens});
  if (running_.size() > kMostInFlight) {
    throw_input_error(
        "more than 16 million requests in flight at once; the times of the trace or --ttft-ms and "
        "--tpot-ms can't be right");
  }
  tokens_ += static_cast<double>(tokens);
  result_.max = std::max(result_.max, static_cast<std::int64_t>(running_.size()));
  result_.max_tokens = std::max(result_.max_tokens, tokens_);
}

ConcurrencySummary Concurrency::summary() {
  while (!running_.empty()) finish_until(running_.top().end_ns);
  double total = 0;
  double weighted = 0;
  for (std::size_t n = 0; n < time_at_.size(); ++n) {
    total += time_at_[n];
    weighted += time_at_[n] * static_cast<double>(n);
  }
  if (total <= 0) return result_;
  result_.mean = weighted / total;
  result_.mean_tokens = token_time_ / total;
  const auto share = [&](double percent) {
    double reached = 0;
    for (std::size_t n = 0; n < time_at_.size(); ++n) {
      reached += time_at_[n];
      if (reached >= total * percent / 100) return static_cast<std::int64_t>(n);
    }
    return result_.max;
  };
  result_.p50 = share(50);
  result_.p95 = share(95);
  result_.p99 = share(99);
  return result_;
}

}  // namespace iol
