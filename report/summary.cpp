#include "report/summary.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "base/error.h"

namespace iol::report {
namespace {

using RunGroup = std::vector<const Run*>;

void add_metric(Summary& summary, const std::string& name, std::string unit,
                std::vector<double> values) {
  if (const auto distribution = describe(std::move(values))) {
    summary.metrics[name] = {std::move(unit), *distribution};
  }
}

void add_metrics(Summary& summary, const RunGroup& runs) {
  std::vector<double> ttft, tpot, e2e, itl, input, output, accepted;
  for (const Run* run : runs) {
    for (const RequestRecord* request : run->requests) {
      if (!request->succeeded()) continue;
      if (request->ttft_ms) ttft.push_back(*request->ttft_ms);
      if (const auto value = request->tpot_ms()) tpot.push_back(*value);
      if (request->e2e_ms) e2e.push_back(*request->e2e_ms);
      itl.insert(itl.end(), request->itl_ms.begin(), request->itl_ms.end());
      input.push_back(static_cast<double>(request->input_tokens));
      output.push_back(static_cast<double>(request->output_tokens));
      if (request->accepted_draft_tokens) {
        accepted.push_back(static_cast<double>(*request->accepted_draft_tokens));
      }
    }
  }
  add_metric(summary, "time_to_first_token", "ms", std::move(ttft));
  add_metric(summary, "inter_token_latency", "ms", std::move(tpot));
  add_metric(summary, "request_latency", "ms", std::move(e2e));
  add_metric(summary, "itl", "ms", std::move(itl));
  add_metric(summary, "input_sequence_length", "tokens", std::move(input));
  add_metric(summary, "output_sequence_length", "tokens", std::move(output));
  add_metric(summary, "accepted_draft_tokens", "tokens", std::move(accepted));
}

/// Sum of rate x duration over sum of durations, over the runs that have the rate.
std::optional<double> pooled_rate(const RunGroup& runs, std::optional<double> Run::*rate) {
  double amount = 0;
  double seconds = 0;
  for (const Run* run : runs) {
    if (!(run->*rate)) continue;
    amount += *(run->*rate) * run->duration_s();
    seconds += run->duration_s();
  }
  if (seconds <= 0) return std::nullopt;
  return amount / seconds;
}

std::vector<double> values_of(const RunGroup& runs, std::optional<double> Run::*field) {
  std::vector<double> values;
  for (const Run* run : runs) {
    if (run->*field) values.push_back(*(run->*field));
  }
  return values;
}

std::optional<double> median_of(const RunGroup& runs, std::optional<double> Run::*field) {
  auto values = values_of(runs, field);
  if (values.empty()) return std::nullopt;
  return median(std::move(values));
}

/// Over all requests of the runs, which may differ in number.
std::optional<double> mean_attainment(const RunGroup& runs) {
  double met = 0;
  double requests = 0;
  for (const Run* run : runs) {
    if (!run->slo_attainment) continue;
    met += *run->slo_attainment * static_cast<double>(run->requests.size());
    requests += static_cast<double>(run->requests.size());
  }
  if (requests == 0) return std::nullopt;
  return met / requests;
}

Summary summarize_runs(const Records& records, const RunGroup& runs, std::uint64_t seed) {
  Summary summary;
  summary.subject = runs.front()->key.subject;
  summary.scenario = runs.front()->key.scenario;
  summary.concurrency = runs.front()->key.concurrency;
  summary.repetitions = static_cast<std::int64_t>(runs.size());
  double output_tokens = 0;
  for (const Run* run : runs) {
    summary.requests += static_cast<std::int64_t>(run->requests.size());
    summary.failed += run->failed;
    summary.runs_with_moved_canary += run->canary_moved ? 1 : 0;
    summary.runs_with_length_off += run->length_is_off ? 1 : 0;
    output_tokens += static_cast<double>(run->output_tokens);
  }
  add_metrics(summary, runs);
  summary.output_throughput_tok_s = pooled_rate(runs, &Run::output_throughput_tok_s);
  summary.request_throughput_req_s = pooled_rate(runs, &Run::request_throughput_req_s);
  summary.goodput_req_s = pooled_rate(runs, &Run::goodput_req_s);
  const auto throughputs = values_of(runs, &Run::output_throughput_tok_s);
  summary.throughput_per_repetition = describe(throughputs);
  const bool all_positive =
      std::all_of(throughputs.begin(), throughputs.end(), [](double value) { return value > 0; });
  if (all_positive) summary.self_ratio = self_ratio(throughputs, seed);
  summary.decode_floor_ms = median_of(runs, &Run::decode_floor_ms);
  summary.limit_fraction = median_of(runs, &Run::limit_fraction);
  summary.canary_bytes_per_s = median_of(runs, &Run::canary_bytes_per_s);
  summary.running_mean = median_of(runs, &Run::running_mean);
  summary.kv_tokens_per_sequence = median_of(runs, &Run::kv_tokens_per_sequence);
  summary.rate_req_s = median_of(runs, &Run::rate_req_s);
  summary.lateness_p99_ms = median_of(runs, &Run::lateness_p99_ms);
  summary.generator_processor_share = median_of(runs, &Run::generator_processor_share);
  summary.slo_attainment = mean_attainment(runs);
  summary.resources = measure_resources(records, runs);
  if (summary.resources.energy_joules && output_tokens > 0) {
    summary.energy_per_output_token_j = *summary.resources.energy_joules / output_tokens;
  }
  return summary;
}

/// Runs of one subject, scenario and concurrency, by repetition.
using Scenario = std::pair<std::string, std::int64_t>;  // name, concurrency
using RunsByRepetition = std::map<std::int64_t, const Run*>;
using RunsByScenario = std::map<Scenario, RunsByRepetition>;

struct ComparedMetric {
  const char* name;
  std::optional<double> Run::*value;
  bool higher_is_better;
};

constexpr ComparedMetric kComparedMetrics[] = {
    {"inter_token_latency", &Run::tpot_ms, false},
    {"time_to_first_token", &Run::ttft_ms, false},
    {"request_latency", &Run::e2e_ms, false},
    {"output_throughput_tok_s", &Run::output_throughput_tok_s, true},
};

bool is_marked(const Run& a, const Run& b) {
  if (a.canary_moved || b.canary_moved) return true;
  if (!a.canary_bytes_per_s || !b.canary_bytes_per_s) return false;
  return std::abs(*a.canary_bytes_per_s / *b.canary_bytes_per_s - 1) > kMarkFraction;
}

std::optional<Comparison> compare(const RunsByRepetition& baseline, const RunsByRepetition& subject,
                                  const ComparedMetric& metric, std::uint64_t seed) {
  std::vector<double> numerator;
  std::vector<double> denominator;
  Comparison result;
  for (const auto& [repetition, base_run] : baseline) {
    const auto other = subject.find(repetition);
    if (other == subject.end()) continue;
    const auto& base_value = base_run->*metric.value;
    const auto& value = other->second->*metric.value;
    if (!base_value || !value || *base_value <= 0 || *value <= 0) continue;
    numerator.push_back(*value);
    denominator.push_back(*base_value);
    result.marked_pairs += is_marked(*base_run, *other->second) ? 1 : 0;
  }
  if (numerator.empty()) return std::nullopt;
  result.metric = metric.name;
  result.ratio = paired_ratio(numerator, denominator, seed);
  result.gain = metric.higher_is_better ? result.ratio.ratio : 1 / result.ratio.ratio;
  result.gain_interval = result.ratio.interval;
  if (result.gain_interval && !metric.higher_is_better) {
    result.gain_interval =
        Interval{1 / result.ratio.interval->high, 1 / result.ratio.interval->low};
  }
  return result;
}

void add_comparisons(RunReport& report, const std::map<std::string, RunsByScenario>& runs,
                     const std::string& baseline, const std::string& subject, std::uint64_t seed) {
  const auto base = runs.find(baseline);
  const auto other = runs.find(subject);
  if (base == runs.end() || other == runs.end()) return;
  for (const auto& [scenario, base_runs] : base->second) {
    const auto subject_runs = other->second.find(scenario);
    if (subject_runs == other->second.end()) continue;
    for (const ComparedMetric& metric : kComparedMetrics) {
      auto comparison = compare(base_runs, subject_runs->second, metric, seed);
      if (!comparison) continue;
      comparison->baseline = baseline;
      comparison->subject = subject;
      comparison->scenario = scenario.first;
      comparison->concurrency = scenario.second;
      report.comparisons.push_back(std::move(*comparison));
    }
  }
}

std::uint64_t bootstrap_seed(const EnvironmentRecord& environment) {
  const auto seed = environment.fields.find("seed");
  if (seed == environment.fields.end() || !seed->is_number_integer()) return 0;
  return seed->get<std::uint64_t>();
}

}  // namespace

const MetricSummary* Summary::find(const std::string& metric) const {
  const auto entry = metrics.find(metric);
  return entry == metrics.end() ? nullptr : &entry->second;
}

const Summary* RunReport::find_summary(std::string_view subject, std::string_view scenario,
                                       std::int64_t concurrency) const {
  for (const Summary& summary : summaries) {
    if (summary.subject == subject && summary.scenario == scenario &&
        summary.concurrency == concurrency) {
      return &summary;
    }
  }
  return nullptr;
}

const Comparison* RunReport::find_comparison(std::string_view baseline, std::string_view subject,
                                             std::string_view scenario, std::int64_t concurrency,
                                             std::string_view metric) const {
  for (const Comparison& comparison : comparisons) {
    if (comparison.baseline == baseline && comparison.subject == subject &&
        comparison.scenario == scenario && comparison.concurrency == concurrency &&
        comparison.metric == metric) {
      return &comparison;
    }
  }
  return nullptr;
}

RunReport summarize(Records records) {
  RunReport report;
  report.records = std::move(records);
  std::vector<Run> runs = group_runs(report.records);
  if (auto note = remove_unfinished_run(runs, report.records)) {
    report.records.notes.push_back(std::move(*note));
  }
  if (runs.empty()) {
    throw_input_error("{}: no measured request; the run ended during warm-up, run it again",
                      report.records.folder.string());
  }
  const std::uint64_t seed = bootstrap_seed(report.records.environment);
  std::map<std::string, RunsByScenario> grouped;
  for (std::size_t begin = 0; begin < runs.size();) {
    std::size_t end = begin;
    RunGroup group;
    const auto& first = runs[begin].key;
    while (end < runs.size() &&
           std::tie(runs[end].key.subject, runs[end].key.scenario, runs[end].key.concurrency) ==
               std::tie(first.subject, first.scenario, first.concurrency)) {
      group.push_back(&runs[end]);
      grouped[first.subject][{first.scenario, first.concurrency}][runs[end].key.repetition] =
          &runs[end];
      ++end;
    }
    report.summaries.push_back(summarize_runs(report.records, group, seed));
    begin = end;
  }
  report.agreements = compare_outputs(report.records);
  const auto& subjects = report.records.subjects;
  for (std::size_t base = 0; base < subjects.size(); ++base) {
    for (std::size_t other = base + 1; other < subjects.size(); ++other) {
      add_comparisons(report, grouped, subjects[base].name, subjects[other].name, seed);
    }
  }
  return report;
}

}  // namespace iol::report
