#pragma once
// When requests arrive: rate, burstiness, busy times. One pass, bounded memory.
#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

namespace iol {

/// Counts in windows of one length, laid from the first arrival on. The last window, which the
/// trace may not fill, is left out of mean and dispersion.
struct WindowCounts {
  double window_s = 0;
  std::int64_t windows = 0;
  double mean = 0;           // arrivals in a window
  double dispersion = 0;     // variance / mean: 1 for a Poisson process, more for bursts
  std::int64_t busiest = 0;  // most arrivals in one window
};

struct BusyHour {
  std::int64_t hour = 0;  // hours since the first arrival
  std::int64_t requests = 0;
  double output_tokens = 0;
};

struct ArrivalSummary {
  std::int64_t first_ns = 0;
  double span_s = 0;
  double mean_rate_req_s = 0;  // (arrivals - 1) / span
  /// Standard deviation / mean of the gaps: 1 for a Poisson process. Nothing for fewer than 3.
  std::optional<double> gap_variation;
  /// 1 / variation^2: the shape of a gamma process of the same burstiness (`--arrival gamma:B`).
  std::optional<double> gamma_shape;
  std::vector<WindowCounts> windows;
  std::vector<BusyHour> hours;  // those with arrivals, in order
  double mean_output_tok_s = 0;
  double busiest_minute_output_tok_s = 0;
};

class Arrivals {
 public:
  Arrivals();
  /// In order of time.
  void add(std::int64_t t_ns, std::int64_t output_tokens);
  [[nodiscard]] std::int64_t count() const { return count_; }
  [[nodiscard]] ArrivalSummary summary() const;

 private:
  struct Window {
    std::int64_t length_ns = 0;
    std::int64_t index = 0;    // of the current window
    std::int64_t current = 0;  // arrivals in it
    std::int64_t busiest = 0;
    std::int64_t completed = 0;
    double sum = 0;  // over completed windows
    double squares = 0;
    void add(std::int64_t offset_ns);
  };

  std::int64_t count_ = 0;
  std::int64_t first_ns_ = 0;
  std::int64_t last_ns_ = 0;
  double gap_mean_ = 0;  // Welford's update
  double gap_squares_ = 0;
  std::array<Window, 4> windows_;
  std::map<std::int64_t, BusyHour> hours_;
  double output_tokens_ = 0;
  std::int64_t minute_ = 0;
  double minute_tokens_ = 0;
  double busiest_minute_tokens_ = 0;
};

}  // namespace iol
