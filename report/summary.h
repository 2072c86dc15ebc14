#pragma once
// From the runs of one bench to the records that answer the question: one summary per subject and
// scenario, and the paired comparisons between subjects.
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "report/agreement.h"
#include "report/records.h"
#include "report/resources.h"
#include "report/runs.h"
#include "report/statistics.h"

namespace iol::report {

/// Above this a fraction of the limit says that the limit was not the one measured.
inline constexpr double kPlausibleFraction = 1.02;

/// A distribution over the measured, successful requests of all repetitions.
struct MetricSummary {
  std::string unit;
  Distribution distribution;
};

/// One subject under one scenario at one concurrency, over all repetitions.
struct Summary {
  std::string subject;
  std::string scenario;
  std::int64_t concurrency = 1;
  std::int64_t repetitions = 0;
  std::int64_t requests = 0;  // measured, failed included
  std::int64_t failed = 0;
  /// By name: time_to_first_token, inter_token_latency (= tpot), request_latency, itl,
  /// input_sequence_length, output_sequence_length, accepted_draft_tokens.
  std::map<std::string, MetricSummary> metrics;
  // Rates over all repetitions: the sum of the tokens (requests) / the sum of the durations.
  std::optional<double> output_throughput_tok_s;
  std::optional<double> request_throughput_req_s;
  std::optional<double> goodput_req_s;
  std::optional<Distribution> throughput_per_repetition;  // of output_throughput_tok_s
  std::optional<double> decode_floor_ms;                  // medians over the repetitions
  std::optional<double> limit_fraction;
  std::optional<double> canary_bytes_per_s;
  std::optional<double> running_mean;            // sequences in a step
  std::optional<double> kv_tokens_per_sequence;  // of the cache, reserved
  // Of an open loop, medians over the repetitions; the attainment over all requests.
  std::optional<double> rate_req_s;
  std::optional<double> lateness_p99_ms;
  std::optional<double> generator_processor_share;
  std::optional<double> slo_attainment;  // of a closed one too, when there are objectives
  Resources resources;
  std::optional<double> energy_per_output_token_j;
  std::int64_t runs_with_moved_canary = 0;
  std::int64_t runs_with_length_off = 0;
  /// The subject against itself (A/A) by its repetitions' output throughput.
  std::optional<PairedRatio> self_ratio;

  const MetricSummary* find(const std::string& metric) const;
};

/// `subject` against `baseline`, pair by pair over the repetitions both have.
struct Comparison {
  std::string baseline;
  std::string subject;
  std::string scenario;
  std::int64_t concurrency = 1;
  /// inter_token_latency, time_to_first_token, request_latency: the median of each repetition;
  /// output_throughput_tok_s: its value.
  std::string metric;
  PairedRatio ratio;  // subject / baseline
  /// How many times better the subject is: the ratio for throughput, its inverse for durations.
  double gain = 1;
  std::optional<Interval> gain_interval;
  std::int64_t marked_pairs = 0;  // a canary moved in one of the two runs, or differs between them

  /// True when the interval excludes 1: the difference is more than the run's own noise.
  bool significant() const { return gain_interval && !gain_interval->contains(1.0); }
};

/// Everything a report says about one bench run.
struct RunReport {
  Records records;
  std::vector<Summary> summaries;       // by subject (in the records' order), scenario, concurrency
  std::vector<Comparison> comparisons;  // against the first subject first, then between the others
  std::vector<OutputAgreement> agreements;

  const Summary* find_summary(std::string_view subject, std::string_view scenario,
                              std::int64_t concurrency) const;
  const Comparison* find_comparison(std::string_view baseline, std::string_view subject,
                                    std::string_view scenario, std::int64_t concurrency,
                                    std::string_view metric) const;
};

/// Throws InputError when no request was measured at all.
RunReport summarize(Records records);

/// The report's numbers in the form of `summary.json`.
Json to_json(const RunReport& report);

}  // namespace iol::report
