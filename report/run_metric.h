#pragma once
// A metric of one run by the name that a gate calls it: tpot_p99, throughput, ttft_mean.
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "report/runs.h"

namespace iol::report {

/// What `iol compare` holds two runs against.
struct RunMetric {
  enum class Source { kTtft, kTpot, kE2e, kItl, kThroughput, kRequestRate, kGoodput };
  enum class Statistic { kValue, kMean, kPercentile };

  std::string name;
  Source source = Source::kThroughput;
  Statistic statistic = Statistic::kValue;
  double percent = 50;  // of a percentile, nearest rank; 100 is the maximum
  [[nodiscard]] bool higher_is_better() const;
  [[nodiscard]] const char* unit() const;

  /// Of the run's successful requests; nothing when the run has none of it.
  [[nodiscard]] std::optional<double> of(const Run& run) const;
};

/// `ttft`, `tpot`, `e2e` and `itl` with `_p50`, `_p90`, `_p95`, `_p99`, `_max` or `_mean` (`_p50`
/// when left out); `throughput`, `requests`, `goodput`. Nothing for another name.
std::optional<RunMetric> find_run_metric(std::string_view name);

/// "tpot_p99>3%": fails when the metric is worse by more than 3 %.
struct Gate {
  RunMetric metric;
  double allowed = 0;  // 0.03
  std::string text;
};

/// Throws InputError naming `--fail-on`, the text and the accepted form.
Gate parse_gate(std::string_view text);

}  // namespace iol::report
