#include "report/runs.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <span>

namespace iol::report {
namespace {

std::optional<double> nearest_rank_median(std::vector<double> values) {
  if (values.empty()) return std::nullopt;
  std::sort(values.begin(), values.end());
  return nearest_rank(values, 50);
}

void add_times(Run& run) {
  std::vector<double> ttft;
  std::vector<double> tpot;
  std::vector<double> e2e;
  run.begin_ns = run.requests.front()->intended_start_ns;
  double context = 0;
  for (const RequestRecord* request : run.requests) {
    run.begin_ns = std::min(run.begin_ns, request->intended_start_ns);
    if (!request->succeeded()) {
      ++run.failed;
      continue;
    }
    run.end_ns = std::max(run.end_ns, request->end_ns);
    run.output_tokens += request->output_tokens;
    run.input_tokens += request->input_tokens;
    context += static_cast<double>(request->input_tokens) +
               0.5 * static_cast<double>(request->output_tokens);
    if (request->ttft_ms) ttft.push_back(*request->ttft_ms);
    if (const auto value = request->tpot_ms()) tpot.push_back(*value);
    if (request->e2e_ms) e2e.push_back(*request->e2e_ms);
  }
  run.end_ns = std::max(run.end_ns, run.begin_ns);  // no success: a window of no length
  const auto succeeded = static_cast<std::int64_t>(run.requests.size()) - run.failed;
  if (succeeded > 0) run.mean_context_tokens = context / static_cast<double>(succeeded);
  run.ttft_ms = nearest_rank_median(std::move(ttft));
  run.tpot_ms = nearest_rank_median(std::move(tpot));
  run.e2e_ms = nearest_rank_median(std::move(e2e));
}

void add_rates(Run& run, const Slo& slo) {
  const auto succeeded = static_cast<std::int64_t>(run.requests.size()) - run.failed;
  if (succeeded == 0 || run.end_ns <= run.begin_ns) return;
  run.output_throughput_tok_s = static_cast<double>(run.output_tokens) / run.duration_s();
  run.request_throughput_req_s = static_cast<double>(succeeded) / run.duration_s();
  if (!slo.any()) return;
  const auto good = std::count_if(run.requests.begin(), run.requests.end(),
                                  [&](const RequestRecord* r) { return meets(slo, *r); });
  run.goodput_req_s = static_cast<double>(good) / run.duration_s();
  run.slo_attainment = static_cast<double>(good) / static_cast<double>(run.requests.size());
}

void mark_length(Run& run) {
  double asked = 0;
  double produced = 0;
  for (const RequestRecord* request : run.requests) {
    if (!request->succeeded() || !request->requested_output_tokens) continue;
    asked += static_cast<double>(*request->requested_output_tokens);
    produced += static_cast<double>(request->output_tokens);
  }
  run.length_is_off = asked > 0 && std::abs(produced / asked - 1) > kMarkFraction;
}

/// Records that stand beside runs, by the run; looked up once for each.
template <class Record>
std::map<RunKey, std::vector<const Record*>> by_run(const std::vector<Record>& records) {
  std::map<RunKey, std::vector<const Record*>> result;
  for (const Record& record : records) result[record.run].push_back(&record);
  return result;
}

void add_canaries(Run& run, std::span<const CanaryRecord* const> canaries,
                  const EnvironmentRecord& environment) {
  double sum = 0;
  double weights_sum = 0;
  int count = 0;
  for (const CanaryRecord* canary : canaries) {
    (canary->after ? run.canary_after_bytes_per_s : run.canary_before_bytes_per_s) =
        canary->read_bytes_per_s;
    sum += canary->read_bytes_per_s;
    weights_sum += canary->weights_read_bytes_per_s.value_or(canary->read_bytes_per_s);
    ++count;
  }
  run.canary_bytes_per_s = count > 0 ? sum / count : environment.canary_read_bytes_per_s;
  run.weights_bytes_per_s = count > 0 ? weights_sum / count : run.canary_bytes_per_s;
  if (run.canary_before_bytes_per_s && run.canary_after_bytes_per_s) {
    const double moved = *run.canary_after_bytes_per_s / *run.canary_before_bytes_per_s - 1;
    run.canary_moved = std::abs(moved) > kMarkFraction;
  }
}

void add_engine_load(Run& run, std::span<const RunRecord* const> records) {
  for (const RunRecord* record : records) {
    run.running_mean = record->running_mean;
    run.rate_req_s = record->rate_req_s;
    if (record->generator) {
      run.lateness_p99_ms = record->generator->lateness_p99_ms;
      const double seconds = static_cast<double>(record->end_ns - record->start_ns) * 1e-9;
      if (seconds > 0) run.generator_processor_share = record->generator->processor_s / seconds;
    }
    if (record->running_mean && *record->running_mean > 0 && record->kv_tokens_reserved_mean) {
      run.kv_tokens_per_sequence = *record->kv_tokens_reserved_mean / *record->running_mean;
    }
  }
}

/// Sequences that a step reads the cache of: as measured, else as many as may run at once; nothing
/// for an open loop that doesn't say.
std::optional<double> sequences_of(const Run& run, const SubjectRecord& subject) {
  if (run.running_mean && *run.running_mean > 0) return run.running_mean;
  if (run.key.concurrency == 0) return std::nullopt;
  return static_cast<double>(
      std::min(run.key.concurrency, subject.max_batch.value_or(run.key.concurrency)));
}

void add_limit(Run& run, const SubjectRecord& subject) {
  if (!subject.weight_bytes_per_step || !subject.kv_bytes_per_token) return;
  if (!run.weights_bytes_per_s || *run.weights_bytes_per_s <= 0 || !run.tpot_ms) return;
  if (*run.tpot_ms <= 0) return;
  const auto sequences = sequences_of(run, subject);
  if (!sequences) return;
  const double bytes = *subject.weight_bytes_per_step +
                       *subject.kv_bytes_per_token * run.mean_context_tokens * *sequences;
  run.decode_floor_ms = bytes / *run.weights_bytes_per_s * 1e3;
  run.limit_fraction = *run.decode_floor_ms / *run.tpot_ms;
}

}  // namespace

bool meets(const Slo& slo, const RequestRecord& request) {
  if (!request.succeeded()) return false;
  const auto within = [](const std::optional<double>& limit, const std::optional<double>& value) {
    return !limit || !value || *value <= *limit;
  };
  return within(slo.ttft_ms, request.ttft_ms) && within(slo.tpot_ms, request.tpot_ms()) &&
         within(slo.e2e_ms, request.e2e_ms);
}

std::vector<Run> group_runs(const Records& records) {
  std::map<std::string, std::size_t> subject_order;
  for (const SubjectRecord& subject : records.subjects) {
    subject_order.emplace(subject.name, subject_order.size());
  }
  std::map<std::pair<std::size_t, RunKey>, Run> runs;
  for (const RequestRecord& request : records.requests) {
    if (request.warmup) continue;
    Run& run = runs[{subject_order.at(request.run.subject), request.run}];
    run.key = request.run;
    run.requests.push_back(&request);
  }
  auto canaries = by_run(records.canaries);
  auto run_records = by_run(records.runs);
  std::vector<Run> result;
  result.reserve(runs.size());
  for (auto& [key, run] : runs) {
    add_times(run);
    add_rates(run, records.environment.slo);
    mark_length(run);
    add_canaries(run, canaries[run.key], records.environment);
    add_engine_load(run, run_records[run.key]);
    add_limit(run, *records.find_subject(run.key.subject));
    result.push_back(std::move(run));
  }
  return result;
}

std::optional<std::string> remove_unfinished_run(std::vector<Run>& runs, const Records& records) {
  if (records.requests.empty() || records.requests.back().warmup) return std::nullopt;
  const RunKey& key = records.requests.back().run;
  std::size_t complete = 0;
  for (const Run& run : runs) {
    const bool alike = run.key.scenario == key.scenario && run.key.concurrency == key.concurrency;
    if (alike) complete = std::max(complete, run.requests.size());
  }
  const auto last =
      std::find_if(runs.begin(), runs.end(), [&](const Run& run) { return run.key == key; });
  const std::size_t found = last->requests.size();
  if (found >= complete) return std::nullopt;
  runs.erase(last);
  return fmt::format(
      "The last run ({}, {}, concurrency {}, repetition {}) is unfinished: {} of {} "
      "requests were recorded. It was left out.",
      key.subject, key.scenario, key.concurrency, key.repetition + 1, found, complete);
}

}  // namespace iol::report
