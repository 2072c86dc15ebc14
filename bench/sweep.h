#pragma once
// A sweep: the highest rate of arrivals at which a subject still meets its objectives.
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "bench/scenario.h"
#include "bench/subject.h"

namespace iol::bench {

/// Searches for the highest rate that passes: doubles (or halves) from the first rate until one
/// passes and one doesn't, then halves the ratio between them until it is below 1 + kPrecision.
class RateSearch {
 public:
  static constexpr double kPrecision = 0.05;
  static constexpr double kLowestRate = 0.01;  // requests/s
  static constexpr double kHighestRate = 100e3;
  static constexpr int kMostProbes = 24;

  explicit RateSearch(double first_rate) : next_(first_rate) {}
  /// The rate to try; nothing when the search has ended.
  [[nodiscard]] std::optional<double> next() const { return next_; }
  /// What came of next().
  void report(bool passed);
  [[nodiscard]] std::optional<double> highest_passed() const { return passed_; }
  [[nodiscard]] std::optional<double> lowest_failed() const { return failed_; }

 private:
  std::optional<double> next_;
  std::optional<double> passed_;
  std::optional<double> failed_;
  int num_probes_ = 0;
};

/// What all subjects of a sweep share.
struct SweepInputs {
  const ScenarioOptions& options;
  RequestMaker& maker;
  double first_rate_req_s = 1;
  nlohmann::json slo;  // {ttft_ms, tpot_ms, e2e_ms}, at least one of them
};

/// What one probe found.
struct Probe {
  double rate_req_s = 0;
  bool passed = false;
  std::int64_t requests = 0;
  std::int64_t failed = 0;
  // 99th percentiles by nearest rank; a failed request is slower than any other.
  std::optional<double> ttft_p99_ms;
  std::optional<double> tpot_p99_ms;
  std::optional<double> e2e_p99_ms;
  double output_throughput_tok_s = 0;
  std::optional<double> lateness_p99_ms;  // of the generator
};

/// Holds a run against the objectives: each set percentile within its limit, no failure beyond 1 %.
Probe judge_probe(double rate_req_s, const RunResult& result, const nlohmann::json& slo);

/// One subject's search. A probe whose generator was late by more than a tenth of the tightest
/// objective does not pass: what it would show is the generator.
class SubjectSweep {
 public:
  SubjectSweep(Subject& subject, const SweepInputs& inputs)
      : subject_(&subject), inputs_(&inputs), search_(inputs.first_rate_req_s) {}
  [[nodiscard]] Subject& subject() const { return *subject_; }
  [[nodiscard]] std::optional<LoadPoint> next_point() const;
  [[nodiscard]] std::vector<WorkloadRequest> requests(const LoadPoint& point) const;
  void judge(const LoadPoint& point, const RunResult& result);
  /// The highest rate that passed; the lowest that was tried when none did.
  [[nodiscard]] double best_rate_req_s() const;
  /// {subject, slo, percentile, highest_rate_req_s, lowest_missed_rate_req_s, probes}.
  [[nodiscard]] nlohmann::json record() const;

 private:
  Subject* subject_;
  const SweepInputs* inputs_;
  RateSearch search_;
  std::vector<Probe> probes_;
};

}  // namespace iol::bench
