#pragma once
// A closed loop of requests on an engine, and what speculation did in it.
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "bench/speculation/speculation_workloads.h"
#include "engine/engine.h"

namespace iol::bench {

/// Steps of one kind. A device that runs ahead is waited for in the step behind.
struct SpeculationSteps {
  std::int64_t num_steps = 0;
  std::int64_t duration_ns = 0;
  std::int64_t host_ns = 0;
  std::int64_t draft_ns = 0;
  std::int64_t num_decode_tokens = 0;
  std::int64_t num_draft_tokens = 0;
  std::int64_t num_accepted_tokens = 0;
  std::int64_t num_prefill_tokens = 0;

  void add(const StepRecord& step) {
    ++num_steps;
    duration_ns += step.duration_ns;
    host_ns += step.host_ns;
    draft_ns += step.draft_ns;
    num_decode_tokens += step.num_decode_tokens;
    num_draft_tokens += step.num_draft_tokens;
    num_accepted_tokens += step.num_accepted_draft_tokens;
    num_prefill_tokens += step.num_prefill_tokens;
  }
};

struct SpeculationResult {
  double tokens_per_second = 0;
  double tokens_per_step = 0;  // of a sequence
  double accepted_share = 0;
  double mean_depth = 0;
  double predicted = 1;
};

struct SpeculationSubject {
  std::string name;
  std::shared_ptr<Engine> engine;
  bool speculates = true;
  std::vector<SpeculationResult> results = {};
  std::vector<double> gains = {};
  std::map<std::string, SpeculationSteps> steps = {};  // of all repetitions, by kind
};

/// A closed loop of `num_streams`; each prompt of [first, first + count) once.
SpeculationResult run_loop(SpeculationSubject& subject, const SpeculationWorkload& workload,
                           int num_output_tokens, int num_streams, std::size_t first,
                           std::size_t count);

}  // namespace iol::bench
