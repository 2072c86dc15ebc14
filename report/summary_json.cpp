// summary.json: the numbers of a report for scripts and dashboards.
#include "report/ladder.h"
#include "report/summary.h"

namespace iol::report {
namespace {

/// An absent number is null, never 0.
Json or_null(const std::optional<double>& value) { return value ? Json(*value) : Json(nullptr); }

Json to_json(const Distribution& distribution) {
  return {{"mean", distribution.mean}, {"std", distribution.std},    {"p50", distribution.p50},
          {"p90", distribution.p90},   {"p95", distribution.p95},    {"p99", distribution.p99},
          {"max", distribution.max},   {"count", distribution.count}};
}

Json to_json(const std::optional<Interval>& interval) {
  return interval ? Json::array({interval->low, interval->high}) : Json(nullptr);
}

Json to_json(const PairedRatio& ratio) {
  return {{"ratio", ratio.ratio},
          {"interval", to_json(ratio.interval)},
          {"pairs", ratio.pairs},
          {"confidence", ratio.interval ? Json(ratio.confidence) : Json(nullptr)}};
}

Json envelope(const RunReport& report, const char* type) {
  return {{"record_type", type}, {"schema_version", 1}, {"run_id", report.records.run_id}};
}

Json with_envelope(const RunReport& report, const char* type, const Json& fields) {
  Json json = envelope(report, type);
  json.update(fields);
  return json;
}

Json to_json(const RunReport& report, const Summary& summary) {
  Json json = envelope(report, "summary");
  json["subject"] = summary.subject;
  json["scenario"] = summary.scenario;
  json["concurrency"] = summary.concurrency;
  json["repetitions"] = summary.repetitions;
  json["requests"] = summary.requests;
  json["failed"] = summary.failed;
  Json metrics = Json::object();
  for (const auto& [name, metric] : summary.metrics) {
    metrics[name] = to_json(metric.distribution);
    metrics[name]["unit"] = metric.unit;
  }
  json["metrics"] = std::move(metrics);
  json["percentile_estimator"] = "nearest rank";
  json["output_throughput_tok_s"] = or_null(summary.output_throughput_tok_s);
  json["request_throughput_req_s"] = or_null(summary.request_throughput_req_s);
  json["goodput_req_s"] = or_null(summary.goodput_req_s);
  if (summary.throughput_per_repetition) {
    json["output_throughput_per_repetition"] = to_json(*summary.throughput_per_repetition);
  }
  json["limit_fraction"] = or_null(summary.limit_fraction);
  json["decode_floor_ms"] = or_null(summary.decode_floor_ms);
  json["canary_read_bytes_per_s"] = or_null(summary.canary_bytes_per_s);
  json["slo_attainment"] = or_null(summary.slo_attainment);
  if (summary.concurrency == 0) {
    json["rate_req_s"] = or_null(summary.rate_req_s);
    json["generator_lateness_p99_ms"] = or_null(summary.lateness_p99_ms);
    json["generator_processor_share"] = or_null(summary.generator_processor_share);
  }
  json["running_mean"] = or_null(summary.running_mean);
  json["kv_tokens_per_sequence"] = or_null(summary.kv_tokens_per_sequence);
  json["memory_peak_bytes"] = or_null(summary.resources.memory_peak_bytes);
  json["memory_reserved_bytes"] = or_null(summary.resources.memory_reserved_bytes);
  json["power_mean_w"] = or_null(summary.resources.power_mean_w);
  json["energy_joules"] = or_null(summary.resources.energy_joules);
  json["counted_joules"] = or_null(summary.resources.counted_joules);
  json["energy_per_output_token_j"] = or_null(summary.energy_per_output_token_j);
  if (!summary.resources.power_missing_because.empty()) {
    json["power_missing_because"] = summary.resources.power_missing_because;
  }
  json["runs_with_moved_canary"] = summary.runs_with_moved_canary;
  json["runs_with_length_off"] = summary.runs_with_length_off;
  json["self_ratio"] = summary.self_ratio ? to_json(*summary.self_ratio) : Json(nullptr);
  return json;
}

Json to_json(const Comparison& comparison) {
  Json json = to_json(comparison.ratio);
  json["baseline"] = comparison.baseline;
  json["subject"] = comparison.subject;
  json["scenario"] = comparison.scenario;
  json["concurrency"] = comparison.concurrency;
  json["metric"] = comparison.metric;
  json["gain"] = comparison.gain;
  json["gain_interval"] = to_json(comparison.gain_interval);
  json["marked_pairs"] = comparison.marked_pairs;
  return json;
}

}  // namespace

Json to_json(const RunReport& report) {
  Json json;
  json["environment"] = with_envelope(report, "environment", report.records.environment.fields);
  Json subjects = Json::array();
  for (const auto& subject : report.records.subjects) {
    subjects.push_back(with_envelope(report, "subject", subject.fields));
  }
  Json summaries = Json::array();
  for (const auto& summary : report.summaries) summaries.push_back(to_json(report, summary));
  Json qualities = Json::array();
  for (const auto& quality : report.records.qualities) {
    qualities.push_back(with_envelope(report, "quality", quality.fields));
  }
  Json comparisons = Json::array();
  for (const auto& comparison : report.comparisons) comparisons.push_back(to_json(comparison));
  Json sweeps = Json::array();
  for (const auto& sweep : report.records.sweeps) {
    sweeps.push_back(with_envelope(report, "sweep", sweep.fields));
  }
  if (!sweeps.empty()) json["sweeps"] = std::move(sweeps);
  json["subjects"] = std::move(subjects);
  json["summaries"] = std::move(summaries);
  json["qualities"] = std::move(qualities);
  json["costs"] = report.records.costs;
  json["comparisons"] = std::move(comparisons);
  Json agreements = Json::array();
  for (const OutputAgreement& agreement : report.agreements) {
    agreements.push_back({{"baseline", agreement.baseline},
                          {"subject", agreement.subject},
                          {"compared", agreement.compared},
                          {"identical", agreement.identical}});
  }
  json["output_agreements"] = std::move(agreements);
  if (const auto ladder = find_ladder(report)) json["ladder"] = ladder_json(report, *ladder);
  json["notes"] = report.records.notes;
  return json;
}

}  // namespace iol::report
