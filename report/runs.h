#pragma once
// One run: a subject under one scenario at one concurrency, one repetition. The unit that is
// interleaved, that has a window of time and a canary on either side, and that pairs are made of.
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "report/records.h"
#include "report/statistics.h"

namespace iol::report {

/// What one run measured. Durations are per request, medians by nearest rank over its requests.
struct Run {
  RunKey key;
  std::vector<const RequestRecord*> requests;  // measured ones, failed included; owned by Records
  std::int64_t begin_ns = 0;                   // first intended start
  std::int64_t end_ns = 0;                     // last token of a successful request
  std::int64_t failed = 0;
  std::int64_t output_tokens = 0;  // of successful requests
  std::int64_t input_tokens = 0;
  double mean_context_tokens = 0;  // while decoding: input + output / 2, mean over requests

  std::optional<double> ttft_ms;
  std::optional<double> tpot_ms;
  std::optional<double> e2e_ms;
  std::optional<double> output_throughput_tok_s;  // output_tokens / (end - begin)
  std::optional<double> request_throughput_req_s;
  std::optional<double> goodput_req_s;  // only when the run has SLOs

  std::optional<double> canary_before_bytes_per_s;
  std::optional<double> canary_after_bytes_per_s;
  bool canary_moved = false;   // after / before is off 1 by more than 10 %
  bool length_is_off = false;  // output tokens are off the asked length by more than 10 %

  /// (weight bytes + KV bytes of every running sequence) / weights_bytes_per_s: the least a decode
  /// step can take on this machine at that moment; absent when the bytes or the canary are unknown.
  std::optional<double> decode_floor_ms;
  /// decode_floor_ms / tpot_ms: how much of the machine's limit the subject reached.
  std::optional<double> limit_fraction;

  /// Sequences in a step and the cache's tokens reserved for each, means over the steps; absent for
  /// subjects that don't say.
  std::optional<double> running_mean;
  std::optional<double> kv_tokens_per_sequence;
  // Of an open loop:
  std::optional<double> rate_req_s;                 // as asked for
  std::optional<double> lateness_p99_ms;            // of the generator
  std::optional<double> generator_processor_share;  // of one processor
  std::optional<double> slo_attainment;  // share of requests that met all objectives; with SLOs

  double duration_s() const { return static_cast<double>(end_ns - begin_ns) * 1e-9; }
  /// Mean of the canaries on either side; the environment's when the run has none of its own.
  std::optional<double> canary_bytes_per_s;
  std::optional<double> weights_bytes_per_s;  // what a working set like the weights is read at
};

/// A run whose canary moved by more than this is marked; an output length off by more likewise.
inline constexpr double kMarkFraction = 0.10;

/// Groups the measured requests of `records` into runs, ordered by subject (in the order of the
/// subject records), scenario, concurrency, repetition. Warm-up requests are left out. The result
/// points into `records`, which must outlive it.
std::vector<Run> group_runs(const Records& records);

/// A killed bench may have recorded only some requests of its last run, whose rate would then be
/// wrong: the run of the last request is removed when other runs of its scenario and concurrency
/// have more requests. Returns a note about it, or nothing.
std::optional<std::string> remove_unfinished_run(std::vector<Run>& runs, const Records& records);

/// True when the request met every objective that is set; a failed request met none.
bool meets(const Slo& slo, const RequestRecord& request);

}  // namespace iol::report
