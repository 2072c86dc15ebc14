#pragma once
// What a workload looks like, from one pass over its trace: lengths and how they go together,
// arrivals and bursts, sharing of prefixes, requests in flight, what static batches and contiguous
// caches would waste on it.
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "workload/arrivals.h"
#include "workload/concurrency.h"
#include "workload/length_histogram.h"
#include "workload/seen_blocks.h"
#include "workload/trace.h"

namespace iol {

struct AuditOptions {
  ServiceTimes times = {};
  std::int64_t static_batch = 16;  // requests of a static batch
  std::size_t max_block_ids = std::size_t{1} << 22;
};

/// Percentiles by nearest rank, over the requests that got an answer.
struct LengthSummary {
  double mean = 0;
  double total = 0;
  std::int64_t p50 = 0;
  std::int64_t p90 = 0;
  std::int64_t p95 = 0;
  std::int64_t p99 = 0;
  std::int64_t max = 0;
};

/// Upper ends (included) of the rows and columns of the joint distribution; the last is open.
inline constexpr std::array<std::int64_t, 6> kInputEdges = {128, 512, 2048, 8192, 32768, 1 << 30};
inline constexpr std::array<std::int64_t, 6> kOutputEdges = {16, 64, 256, 1024, 4096, 1 << 30};

struct PrefixSharing {
  double blocks = 0;  // of kTraceBlockTokens tokens, all requests together
  double different = 0;
  double shared = 0;   // share of the blocks that came before
  double sampled = 1;  // share of the ids that was looked at
};

struct Workload {
  std::string path;
  TraceForm form = TraceForm::kAzure;
  bool lengths_are_estimated = false;
  std::int64_t requests = 0;  // all, failed included
  std::int64_t failed = 0;
  std::int64_t skipped = 0;
  LengthSummary input;
  LengthSummary output;
  LengthSummary total;                            // input + output of a request
  std::array<std::array<double, 6>, 6> joint{};   // [input][output] shares of the requests
  std::optional<double> length_correlation;       // Pearson, of log(1 + length)
  std::optional<ArrivalSummary> arrivals;         // nothing without times
  std::optional<ConcurrencySummary> concurrency;  // nothing without times
  std::optional<PrefixSharing> prefixes;          // nothing without block ids
  /// Share of the steps of static batches, filled in order of arrival, that run for sequences which
  /// have ended: 1 - sum(output) / sum(batch size * longest output of the batch).
  double static_batch_waste = 0;
  /// Share of a contiguous cache, reserved for the longest request each, that is never used.
  double contiguous_waste = 0;
  AuditOptions options;
};

/// Reads the whole trace. Throws what the reader throws, and InputError when no request was
/// answered.
Workload audit_trace(TraceReader& trace, const std::string& path, const AuditOptions& options);

}  // namespace iol
