#pragma once
// What a bench runs: which loads, how often, with which requests.
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "workload/prompts.h"

namespace iol::bench {

/// A closed loop of one concurrency under a scenario's name. `latency` is one stream, `throughput`
/// several loads of growing concurrency.
struct LoadPoint {
  std::string scenario;
  int concurrency = 1;
  std::int64_t num_requests = 1;  // per repetition
};

struct ScenarioOptions {
  std::vector<std::string> scenarios = {"latency", "throughput"};
  std::vector<int> concurrencies = {1, 4, 16, 64};  // of throughput
  std::optional<std::int64_t> num_requests = {};    // per load and repetition; nothing: by load
  std::optional<int> num_rounds = {};  // then: times that every slot is filled; 4 requests at least
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
  int max_concurrency = 1;
  std::int64_t max_request_tokens = 0;  // longest prompt and allowed output of one request
  std::int64_t num_runs_per_subject = 0;
};

/// Throws InputError for an option that makes no run, and for a request that is longer than
/// `max_context` positions.
Plan make_plan(const ScenarioOptions& options, const PromptSource& source,
               std::int64_t max_context);

}  // namespace iol::bench
