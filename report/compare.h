#pragma once
// Two results folders held against each other, repetition by repetition, and the gates that decide.
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "report/records.h"
#include "report/run_metric.h"
#include "report/statistics.h"

namespace iol::report {

struct CompareOptions {
  std::vector<Gate> gates;
  std::optional<std::string> subject;  // only this one
  std::optional<std::string> scenario;
  std::optional<std::int64_t> concurrency;
  std::uint64_t seed = 0;        // of the bootstrap
  bool are_interleaved = false;  // both are parts of one bench: nothing changed in between
};

/// One metric of one subject under one load, NEW over BASE.
struct FolderComparison {
  std::string subject;
  std::string scenario;
  std::int64_t concurrency = 1;
  RunMetric metric;
  double base = 0;  // medians over the pairs
  double next = 0;
  PairedRatio ratio;
  std::int64_t marked_pairs = 0;  // a canary moved by more than 10 %, or differs between the two
  /// The smallest worsening that would have been seen with a chance of 90 %, as a fraction, and how
  /// many pairs would see one of 3 %; nothing when the pairs are too few, or no number would do.
  std::optional<double> smallest_visible_change;
  std::optional<std::int64_t> pairs_for_three_percent;
  std::optional<std::string> gate;  // its text
  double allowed = 0;
  /// The interval lies wholly beyond the allowed change.
  bool failed = false;
  /// By how much it is worse: ratio - 1 for durations, 1 - ratio for rates.
  [[nodiscard]] double worsening() const;
};

struct CompareResult {
  std::string base_run;
  std::string next_run;
  std::vector<FolderComparison> comparisons;
  std::vector<std::string> notes;  // what a reader must know: machines, repetitions, failures
  double confidence = 0.95;        // of each interval; higher when several gates decide together
  [[nodiscard]] bool failed() const;
};

/// Pairs the repetitions of both. With gates, their metrics are compared and each interval has the
/// confidence 1 - 0.05 / (number of gated comparisons), so that all of them together raise a false
/// alarm at most 5 times in 100 (Bonferroni); without, throughput and the medians of ttft, tpot,
/// e2e. Throws InputError for the same run twice, other models or workloads, nothing in common, and
/// gates for which there are too few repetitions or no values.
CompareResult compare(const Records& base, const Records& next, const CompareOptions& options);

std::string compare_text(const CompareResult& result);
Json compare_json(const CompareResult& result);

}  // namespace iol::report
