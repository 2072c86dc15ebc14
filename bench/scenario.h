#pragma once
// What a bench runs: which loads, how often, with which requests.
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "workload/arrival_process.h"
#include "workload/prompts.h"
#include "workload/trace_load.h"

namespace iol::bench {

/// One load. `latency` is a closed loop of one stream, `throughput` closed loops of growing
/// concurrency; an open loop is named after its arrivals: "poisson 5 req/s", "trace at 2x".
struct LoadPoint {
  std::string scenario;
  int concurrency = 1;                    // 0: an open loop
  std::int64_t num_requests = 1;          // per repetition
  std::optional<double> rate_req_s = {};  // of an open loop, but for a trace's own times
};

struct ScenarioOptions {
  std::vector<std::string> scenarios = {"latency", "throughput"};
  std::vector<int> concurrencies = {1, 4, 16, 64};  // of throughput
  std::optional<std::int64_t> num_requests = {};    // per load and repetition; nothing: by load
  /// Then: times that every slot is filled, 16 requests at least.
  std::optional<int> num_rounds = {};
  LengthDistribution input_tokens = LengthDistribution::parse("100", "--input-tokens");
  LengthDistribution output_tokens = LengthDistribution::parse("200", "--output-tokens");
  int num_repetitions = 6;
  int num_warm_ups = 1;
  std::uint64_t seed = 0;
  /// Clients that don't know how long an output will be allow the longest one of the whole plan
  /// (as far as the context reaches); those that do, exactly what they get.
  bool lengths_are_known = true;
  std::optional<int> static_batch =
      {};  // of subjects that batch statically; nothing: the concurrency

  // Open loops (scenarios "load" and "sweep").
  ArrivalProcess arrival = ArrivalProcess::parse("poisson", "--arrival");
  std::vector<double> rates_req_s = {};  // of "load"; where a "sweep" begins
  double duration_s = 30;  // over which requests arrive, when their number isn't given
  /// Lengths and shared prefixes, and without a rate the arrivals too, are this trace's.
  std::optional<TraceLoad> trace = {};
  double trace_speed = 1;  // the times between its arrivals are divided by this
};

/// One load with the requests of every run. Each run has prompts of its own, the same for every
/// subject.
struct PlannedLoad {
  LoadPoint point;
  std::vector<std::vector<WorkloadRequest>> warm_ups;     // [num_warm_ups]
  std::vector<std::vector<WorkloadRequest>> repetitions;  // [num_repetitions]
};

struct Plan {
  std::vector<PlannedLoad> loads;
  int max_concurrency = 1;              // of the closed loops
  bool has_open_loops = false;          // loads whose concurrency only the subject decides
  std::int64_t max_request_tokens = 0;  // longest prompt and allowed output of one request
  std::int64_t num_runs_per_subject = 0;
};

/// Makes the requests of loads, each with an id of its own.
class RequestMaker {
 public:
  /// Options and source must outlive it.
  RequestMaker(const ScenarioOptions& options, const PromptSource& source, std::int64_t max_context)
      : options_(options), source_(source), max_context_(max_context) {}
  /// `count` requests for `point`, with the times at which they are due. Throws InputError for a
  /// request that is longer than the context.
  std::vector<WorkloadRequest> make(const LoadPoint& point, std::int64_t count);

 private:
  const ScenarioOptions& options_;
  const PromptSource& source_;
  std::int64_t max_context_;
  std::int64_t next_id_ = 0;
};

bool has_sweep(const ScenarioOptions& options);

/// An open loop at a rate: its name, and as many requests as arrive in the options' duration.
LoadPoint rate_point(const ScenarioOptions& options, double rate_req_s);

/// All loads but those of a sweep, which finds its own. Throws InputError for an option that makes
/// no run, and for a request that is longer than `max_context` positions.
Plan make_plan(const ScenarioOptions& options, const PromptSource& source,
               std::int64_t max_context);

}  // namespace iol::bench
