#pragma once
// What a bench is doing, on the terminal while it runs.
#include <cstdint>
#include <optional>
#include <string>

#include "bench/subject.h"

namespace iol::bench {

/// A line with a bar and what is being done, and under it what the subject has under way:
///
///   [#######.................]  31 %  iol throughput x16, repetition 2
///   2,178 tokens/s  16 running  3 waiting  KV cache 45 %  187 W
///
/// Both are redrawn in place, in one write, cut to the terminal's width. Nothing at all is written
/// when not shown. What is on the screen is taken away when it is destroyed.
class LiveView {
 public:
  LiveView(bool shown, std::int64_t num_steps) : shown_(shown), num_steps_(num_steps) {}
  ~LiveView() { clear(); }
  LiveView(const LiveView&) = delete;
  LiveView& operator=(const LiveView&) = delete;

  /// What is being done now; of the subject nothing is known yet.
  void describe(const std::string& what);
  /// How much of the current step is done, in [0, 1], what its subject says, and the power drawn.
  void advance_within(double fraction, const RunProgress& progress, std::optional<double> power_w);
  void finish_step();
  /// Takes the lines away, so that something else may be printed.
  void clear();

 private:
  void draw();
  void measure_rate(const RunProgress& progress);

  bool shown_;
  bool drawn_ = false;
  std::int64_t num_steps_;
  std::int64_t num_done_ = 0;
  double fraction_ = 0;
  std::string what_;
  std::string state_;  // the second line
  // Of the rate of the last half second or more.
  std::int64_t rate_from_ns_ = 0;
  std::int64_t rate_from_tokens_ = 0;
  std::optional<double> tokens_per_s_;
};

}  // namespace iol::bench
