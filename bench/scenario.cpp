#include "bench/scenario.h"

#include <algorithm>

#include "base/error.h"

namespace iol::bench {
namespace {

// Enough to fill every slot twice; where one batch is already long, once.
constexpr int kOneRoundFrom = 32;
constexpr std::int64_t kMaxRequestsPerRun = 1'000'000;

std::int64_t default_num_requests(int concurrency, std::optional<int> num_rounds) {
  if (num_rounds) return std::max(4, *num_rounds * concurrency);
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
  if (options.concurrencies.empty()) throw_input_error("--concurrency: no number is given");
  for (const int concurrency : options.concurrencies) {
    if (concurrency < 1 || concurrency > 4096) {
      throw_input_error("--concurrency {}: from 1 to 4096", concurrency);
    }
  }
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
    } else {
      throw_input_error("--scenario {}: expected latency or throughput", scenario);
    }
  }
  return points;
}

/// A warm-up has every batch size that the runs will have: the full one, and the remainder that a
/// static batch ends with.
std::int64_t num_warm_up_requests(const LoadPoint& point, std::optional<int> static_batch) {
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

}  // namespace

Plan make_plan(const ScenarioOptions& options, const PromptSource& source,
               std::int64_t max_context) {
  check_options(options);
  Plan plan;
  std::int64_t next_id = 0;
  const auto make = [&](std::int64_t count) {
    auto requests = make_requests(source, options.input_tokens, options.output_tokens, next_id,
                                  count, options.seed, max_context);
    next_id += count;
    return requests;
  };
  for (const auto& point : load_points(options)) {
    PlannedLoad load;
    load.point = point;
    for (int i = 0; i < options.num_warm_ups; ++i) {
      load.warm_ups.push_back(make(num_warm_up_requests(point, options.static_batch)));
    }
    for (int i = 0; i < options.num_repetitions; ++i) {
      load.repetitions.push_back(make(point.num_requests));
    }
    plan.max_concurrency = std::max(plan.max_concurrency, point.concurrency);
    plan.loads.push_back(std::move(load));
  }
  if (!options.lengths_are_known) allow_longest_output(plan, max_context);
  for_each_request(plan, [&](const WorkloadRequest& request) {
    plan.max_request_tokens =
        std::max(plan.max_request_tokens, num_input_tokens(request) + request.most_output_tokens());
  });
  plan.num_runs_per_subject = static_cast<std::int64_t>(plan.loads.size()) *
                              (options.num_warm_ups + options.num_repetitions);
  return plan;
}

}  // namespace iol::bench
