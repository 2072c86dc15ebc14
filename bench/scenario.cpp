#include "bench/scenario.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace iol::bench {
namespace {

// Enough to fill every slot twice; where one batch is already long, once.
constexpr int kOneRoundFrom = 32;
constexpr std::int64_t kMaxRequestsPerRun = 1'000'000;
constexpr std::int64_t kOpenLoopWarmUp = 32;

/// Of one stream enough for a median, and for speculation to learn more than it costs to learn.
constexpr int kFewestOfRounds = 16;

std::int64_t default_num_requests(int concurrency, std::optional<int> num_rounds) {
  if (num_rounds) return std::max(kFewestOfRounds, *num_rounds * concurrency);
  return concurrency < kOneRoundFrom ? 2 * concurrency : concurrency;
}

void check_options(const ScenarioOptions& options) {
  if (options.scenarios.empty()) throw_input_error("--scenario: no scenario is given");
  if (options.num_repetitions < 1) throw_input_error("--repeat: at least 1");
  if (options.num_warm_ups < 0) throw_input_error("--warmup: at least 0");
  if (options.num_requests &&
      (*options.num_requests < 1 || *options.num_requests > kMaxRequestsPerRun)) {
    throw_input_error("--requests {}: from 1 to {}", *options.num_requests, kMaxRequestsPerRun);
  }
  for (const double rate : options.rates_req_s) {
    if (!std::isfinite(rate) || rate < 1e-3 || rate > 1e6) {
      throw_input_error("--rate {}: requests per second, from 0.001 to 1000000", rate);
    }
  }
  if (!std::isfinite(options.duration_s) || options.duration_s < 0.1 || options.duration_s > 1e6) {
    throw_input_error("--duration {}: seconds, from 0.1 to 1000000", options.duration_s);
  }
  if (options.concurrencies.empty()) throw_input_error("--concurrency: no number is given");
  for (const int concurrency : options.concurrencies) {
    if (concurrency < 1 || concurrency > 4096) {
      throw_input_error("--concurrency {}: from 1 to 4096", concurrency);
    }
  }
}

LoadPoint replay_point(const ScenarioOptions& options) {
  const TraceLoad& trace = *options.trace;
  if (!trace.has_times) {
    throw_input_error("--trace {}: it has no times to replay; give a --rate for its requests",
                      trace.path.string());
  }
  const auto within = [&](const TraceEntry& entry) {
    return static_cast<double>(entry.due_ns) * 1e-9 / options.trace_speed <= options.duration_s;
  };
  const auto in_time = std::count_if(trace.entries.begin(), trace.entries.end(), within);
  LoadPoint point{fmt::format("trace at {:g}x", options.trace_speed), 0, in_time, std::nullopt};
  if (options.num_requests) {
    point.num_requests =
        std::min(*options.num_requests, static_cast<std::int64_t>(trace.entries.size()));
  }
  return point;
}

std::vector<LoadPoint> open_loops(const ScenarioOptions& options) {
  std::vector<LoadPoint> points;
  for (const double rate : options.rates_req_s) points.push_back(rate_point(options, rate));
  if (!points.empty()) return points;
  if (!options.trace) {
    throw_input_error("--scenario load: at what rate? Give --rate, or --trace to replay one");
  }
  return {replay_point(options)};
}

std::vector<LoadPoint> load_points(const ScenarioOptions& options) {
  std::vector<LoadPoint> points;
  const auto add = [&](const std::string& scenario, int concurrency) {
    const auto same = [&](const LoadPoint& point) {
      return point.scenario == scenario && point.concurrency == concurrency;
    };
    if (std::any_of(points.begin(), points.end(), same)) return;
    points.push_back(
        {scenario, concurrency,
         options.num_requests.value_or(default_num_requests(concurrency, options.num_rounds))});
  };
  for (const auto& scenario : options.scenarios) {
    if (scenario == "latency") {
      add(scenario, 1);
    } else if (scenario == "throughput") {
      for (const int concurrency : options.concurrencies) add(scenario, concurrency);
    } else if (scenario == "load") {
      for (auto& point : open_loops(options)) points.push_back(std::move(point));
    } else if (scenario != "sweep") {
      throw_input_error("--scenario {}: expected latency, throughput, load or sweep", scenario);
    }
  }
  return points;
}

/// A warm-up has every batch size that the runs will have: the full one, and the remainder that a
/// static batch ends with.
std::int64_t num_warm_up_requests(const LoadPoint& point, std::optional<int> static_batch) {
  if (point.concurrency == 0) return std::min(point.num_requests, kOpenLoopWarmUp);
  if (point.num_requests <= point.concurrency) return point.num_requests;
  const int batch = std::min(static_batch.value_or(point.concurrency), point.concurrency);
  const int full_batches = (point.concurrency + batch - 1) / batch;
  return std::min(point.num_requests, full_batches * batch + point.num_requests % batch);
}

/// Calls `visit` with every request of `plan`, warm-ups included.
template <class SomePlan, class Visit>
void for_each_request(SomePlan& plan, const Visit& visit) {
  for (auto& load : plan.loads) {
    for (auto* runs : {&load.warm_ups, &load.repetitions}) {
      for (auto& run : *runs) {
        for (auto& request : run) visit(request);
      }
    }
  }
}

std::int64_t num_input_tokens(const WorkloadRequest& request) {
  return static_cast<std::int64_t>(request.prompt_tokens.size());
}

void allow_longest_output(Plan& plan, std::int64_t max_context) {
  std::int64_t longest = 0;
  for_each_request(plan, [&](const WorkloadRequest& request) {
    longest = std::max(longest, request.output_tokens);
  });
  for_each_request(plan, [&](WorkloadRequest& request) {
    request.output_limit = std::min(longest, max_context - num_input_tokens(request));
  });
}

/// The requests of a sweep are made as it goes: as long as the longest of many, most likely.
std::int64_t longest_of_sample(const ScenarioOptions& options, const PromptSource& source,
                               std::int64_t max_context) {
  constexpr std::int64_t kSample = 1000;
  RequestMaker maker(options, source, max_context);
  std::int64_t longest = 0;
  for (const auto& request : maker.make({"sample", 1, kSample}, kSample)) {
    longest = std::max(longest, num_input_tokens(request) + request.most_output_tokens());
  }
  return longest;
}

}  // namespace

bool has_sweep(const ScenarioOptions& options) {
  const auto& all = options.scenarios;
  return std::find(all.begin(), all.end(), "sweep") != all.end();
}

LoadPoint rate_point(const ScenarioOptions& options, double rate_req_s) {
  const auto count =
      std::clamp(static_cast<std::int64_t>(std::llround(rate_req_s * options.duration_s)),
                 std::int64_t{1}, kMaxRequestsPerRun);
  return {fmt::format("{} {:.4g} req/s", options.arrival.text(), rate_req_s), 0,
          options.num_requests.value_or(count), rate_req_s};
}

std::vector<WorkloadRequest> RequestMaker::make(const LoadPoint& point, std::int64_t count) {
  const std::int64_t first_id = next_id_;
  next_id_ += count;
  std::vector<WorkloadRequest> requests;
  if (options_.trace) {
    requests = replay_requests(*options_.trace, source_,
                               {.count = count,
                                .speed = options_.trace_speed,
                                .first_id = first_id,
                                .seed = options_.seed});
  } else {
    requests = make_requests(source_, options_.input_tokens, options_.output_tokens, first_id,
                             count, options_.seed, max_context_);
  }
  if (point.rate_req_s) {
    const auto due = options_.arrival.due_times_ns(
        *point.rate_req_s, count, options_.seed + static_cast<std::uint64_t>(first_id));
    for (std::size_t i = 0; i < due.size(); ++i) requests[i].due_ns = due[i];
  }
  return requests;
}

Plan make_plan(const ScenarioOptions& options, const PromptSource& source,
               std::int64_t max_context) {
  check_options(options);
  Plan plan;
  RequestMaker maker(options, source, max_context);
  for (const auto& point : load_points(options)) {
    PlannedLoad load;
    load.point = point;
    for (int i = 0; i < options.num_warm_ups; ++i) {
      load.warm_ups.push_back(maker.make(point, num_warm_up_requests(point, options.static_batch)));
    }
    for (int i = 0; i < options.num_repetitions; ++i) {
      load.repetitions.push_back(maker.make(point, point.num_requests));
    }
    plan.max_concurrency = std::max(plan.max_concurrency, point.concurrency);
    plan.has_open_loops = plan.has_open_loops || point.concurrency == 0;
    plan.loads.push_back(std::move(load));
  }
  plan.has_open_loops = plan.has_open_loops || has_sweep(options);
  if (!options.lengths_are_known) allow_longest_output(plan, max_context);
  if (has_sweep(options)) plan.max_request_tokens = longest_of_sample(options, source, max_context);
  for_each_request(plan, [&](const WorkloadRequest& request) {
    plan.max_request_tokens =
        std::max(plan.max_request_tokens, num_input_tokens(request) + request.most_output_tokens());
  });
  plan.num_runs_per_subject = static_cast<std::int64_t>(plan.loads.size()) *
                              (options.num_warm_ups + options.num_repetitions);
  return plan;
}

}  // namespace iol::bench
