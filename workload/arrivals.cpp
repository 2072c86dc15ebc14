#include "workload/arrivals.h"

#include <algorithm>
#include <cmath>

namespace iol {
namespace {

constexpr std::int64_t kSecondNs = 1'000'000'000;
constexpr std::array<std::int64_t, 4> kWindowsS = {1, 10, 60, 600};

}  // namespace

Arrivals::Arrivals() {
  for (std::size_t i = 0; i < windows_.size(); ++i)
    windows_[i].length_ns = kWindowsS[i] * kSecondNs;
}

void Arrivals::Window::add(std::int64_t offset_ns) {
  const std::int64_t at = offset_ns / length_ns;
  if (at != index) {
    sum += static_cast<double>(current);
    squares += static_cast<double>(current) * static_cast<double>(current);
    completed += at - index;  // the empty ones between count as well
    index = at;
    current = 0;
  }
  busiest = std::max(busiest, ++current);
}

void Arrivals::add(std::int64_t t_ns, std::int64_t output_tokens) {
  if (count_ == 0) {
    first_ns_ = t_ns;
  } else {
    const double gap = static_cast<double>(t_ns - last_ns_);
    const double before = gap - gap_mean_;
    gap_mean_ += before / static_cast<double>(count_);
    gap_squares_ += before * (gap - gap_mean_);
  }
  last_ns_ = t_ns;
  ++count_;
  const std::int64_t offset_ns = t_ns - first_ns_;
  for (Window& window : windows_) window.add(offset_ns);
  const auto tokens = static_cast<double>(output_tokens);
  BusyHour& hour = hours_[offset_ns / (3600 * kSecondNs)];
  hour.hour = offset_ns / (3600 * kSecondNs);
  ++hour.requests;
  hour.output_tokens += tokens;
  output_tokens_ += tokens;
  const std::int64_t minute = offset_ns / (60 * kSecondNs);
  if (minute != minute_) {
    minute_ = minute;
    minute_tokens_ = 0;
  }
  minute_tokens_ += tokens;
  busiest_minute_tokens_ = std::max(busiest_minute_tokens_, minute_tokens_);
}

ArrivalSummary Arrivals::summary() const {
  ArrivalSummary result;
  result.first_ns = first_ns_;
  result.span_s = static_cast<double>(last_ns_ - first_ns_) * 1e-9;
  if (result.span_s > 0) {
    result.mean_rate_req_s = static_cast<double>(count_ - 1) / result.span_s;
    result.mean_output_tok_s = output_tokens_ / result.span_s;
    result.busiest_minute_output_tok_s =
        std::max(busiest_minute_tokens_ / 60, result.mean_output_tok_s);
  }
  if (count_ >= 3 && gap_mean_ > 0) {
    const double deviation = std::sqrt(gap_squares_ / static_cast<double>(count_ - 2));
    const double variation = deviation / gap_mean_;
    result.gap_variation = variation;
    if (variation > 0) result.gamma_shape = 1 / (variation * variation);
  }
  for (const Window& window : windows_) {
    if (window.completed < 2) continue;
    WindowCounts counts;
    counts.window_s = static_cast<double>(window.length_ns) / 1e9;
    counts.windows = window.completed;
    const auto n = static_cast<double>(window.completed);
    counts.mean = window.sum / n;
    const double variance = (window.squares - n * counts.mean * counts.mean) / (n - 1);
    if (counts.mean > 0) counts.dispersion = std::max(variance, 0.0) / counts.mean;
    counts.busiest = window.busiest;
    result.windows.push_back(counts);
  }
  for (const auto& [index, hour] : hours_) result.hours.push_back(hour);
  return result;
}

}  // namespace iol
