#include "report/load_tables.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>

#include "report/cells.h"
#include "report/format.h"
#include "report/headline.h"

namespace iol::report {
namespace {

Cell percentiles_cell(const Summary& summary, const char* metric) {
  const MetricSummary* found = summary.find(metric);
  if (found == nullptr) return text_cell(std::string(kAbsent));
  return text_cell(format_duration_ms(found->distribution.p50),
                   format_duration_ms(found->distribution.p99));
}

std::string milliseconds_text(const std::optional<double>& value) {
  return format_or_absent(value, format_duration_ms);
}

/// "ttft 500 ms, tpot 30 ms".
std::string slo_text(const Slo& slo) {
  std::string text;
  const auto add = [&](const char* name, const std::optional<double>& limit) {
    if (!limit) return;
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name, format_duration_ms(*limit));
  };
  add("ttft", slo.ttft_ms);
  add("tpot", slo.tpot_ms);
  add("e2e", slo.e2e_ms);
  return text;
}

struct RatePoint {
  double rate = 0;
  double milliseconds = 0;
};
using PointsBySubject = std::map<int, std::vector<RatePoint>>;

/// Of the sweeps' probes and of the loads that were repeated.
PointsBySubject points_of(const RunReport& report, std::optional<double> ProbeRecord::*of_probe,
                          const char* metric) {
  PointsBySubject points;
  for (const SweepRecord& sweep : report.records.sweeps) {
    for (const ProbeRecord& probe : sweep.probes) {
      const auto& value = probe.*of_probe;
      if (value) points[index_of(report, sweep.subject)].push_back({probe.rate_req_s, *value});
    }
  }
  for (const Summary& summary : report.summaries) {
    const MetricSummary* found = summary.find(metric);
    if (!summary.rate_req_s || found == nullptr) continue;
    points[index_of(report, summary.subject)].push_back(
        {*summary.rate_req_s, found->distribution.p99});
  }
  for (auto& [subject, line] : points) {
    std::sort(line.begin(), line.end(),
              [](const RatePoint& a, const RatePoint& b) { return a.rate < b.rate; });
  }
  return points;
}

std::optional<Chart> rate_chart(const RunReport& report, Chart chart,
                                const PointsBySubject& points) {
  Json all_series = Json::array();
  std::size_t most = 0;
  for (const auto& [subject, line] : points) {
    Json series = {{"label", report.records.subjects[static_cast<std::size_t>(subject)].label},
                   {"subject", subject},
                   {"points", Json::array()}};
    for (const RatePoint& point : line) {
      series["points"].push_back({point.rate, point.milliseconds});
    }
    chart.description +=
        fmt::format("; {}: {} at {} requests/s, {} at {}", series["label"].get<std::string>(),
                    format_duration_ms(line.front().milliseconds), format_number(line.front().rate),
                    format_duration_ms(line.back().milliseconds), format_number(line.back().rate));
    most = std::max(most, line.size());
    all_series.push_back(std::move(series));
  }
  if (most < 2) return std::nullopt;
  chart.description += ".";
  chart.data = {{"type", "rates"},
                {"x_title", "requests per second"},
                {"y_title", "ms, 99th percentile"},
                {"series", std::move(all_series)}};
  return chart;
}

}  // namespace

Table load_table(const RunReport& report) {
  Table table;
  const auto& slo = report.records.environment.slo;
  table.caption =
      "Load that arrives whatever becomes of it: medians, and below them p99. Latency counts from "
      "when a request was due.";
  if (slo.any()) table.caption += fmt::format(" Objectives: {}.", slo_text(slo));
  table.columns = {{"Subject", "arrivals", false},
                   {"Requests/s", "answered"},
                   {"Within objectives", "goodput, requests/s"},
                   {"First token", "p50 · p99"},
                   {"Per token", "p50 · p99"},
                   {"Whole request", "p50 · p99"},
                   {"Failed", "of all"},
                   {"Generator late", "p99, processor"}};
  for (const Summary& summary : report.summaries) {
    if (summary.concurrency != 0) continue;
    Row row;
    row.cells = {subject_cell(report, summary.subject, summary.scenario),
                 text_cell(format_or_absent(summary.request_throughput_req_s, format_number)),
                 text_cell(format_or_absent(summary.slo_attainment, format_percent),
                           summary.goodput_req_s ? format_number(*summary.goodput_req_s) : ""),
                 percentiles_cell(summary, "time_to_first_token"),
                 percentiles_cell(summary, "inter_token_latency"),
                 percentiles_cell(summary, "request_latency"),
                 text_cell(format_count(summary.failed), format_count(summary.requests)),
                 text_cell(milliseconds_text(summary.lateness_p99_ms),
                           summary.generator_processor_share
                               ? format_percent(*summary.generator_processor_share)
                               : "")};
    table.rows.push_back(std::move(row));
  }
  return table;
}

Table sweep_table(const RunReport& report) {
  Table table;
  if (report.records.sweeps.empty()) return table;
  table.caption = fmt::format(
      "The highest rate of arrivals at which the 99th percentiles stay within the objectives ({}); "
      "between it and the lowest that missed them lies the true one. One probe of {:g} s per rate.",
      slo_text(report.records.environment.slo), report.records.sweeps.front().seconds_per_probe);
  table.columns = {{"Subject", "arrivals", false},
                   {"Highest rate", "requests/s"},
                   {"Missed at", "requests/s"},
                   {"Tokens/s", "there"},
                   {"First token", "p99 there"},
                   {"Per token", "p99 there"},
                   {"Probes", ""}};
  for (const SweepRecord& sweep : report.records.sweeps) {
    ProbeRecord best;
    for (const ProbeRecord& probe : sweep.probes) {
      if (sweep.highest_rate_req_s && probe.rate_req_s == *sweep.highest_rate_req_s) best = probe;
    }
    Row row;
    row.cells = {subject_cell(report, sweep.subject, sweep.arrival),
                 text_cell(format_or_absent(sweep.highest_rate_req_s, format_number),
                           sweep.highest_rate_req_s ? "" : "met them at no rate that was tried"),
                 text_cell(format_or_absent(sweep.lowest_missed_rate_req_s, format_number)),
                 text_cell(format_or_absent(best.output_throughput_tok_s, format_number)),
                 text_cell(milliseconds_text(best.ttft_p99_ms)),
                 text_cell(milliseconds_text(best.tpot_p99_ms)),
                 text_cell(format_count(static_cast<std::int64_t>(sweep.probes.size())))};
    table.rows.push_back(std::move(row));
  }
  return table;
}

std::vector<Chart> load_charts(const RunReport& report, const std::string& prefix) {
  std::vector<Chart> charts;
  auto ttft = rate_chart(report,
                         {prefix + "rate-ttft", "Time to first token against the rate",
                          "99th percentile of the time to first token", Json()},
                         points_of(report, &ProbeRecord::ttft_p99_ms, "time_to_first_token"));
  auto tpot = rate_chart(report,
                         {prefix + "rate-tpot", "Time per token against the rate",
                          "99th percentile of the time per token", Json()},
                         points_of(report, &ProbeRecord::tpot_p99_ms, "inter_token_latency"));
  for (auto* chart : {&ttft, &tpot}) {
    if (*chart) charts.push_back(std::move(**chart));
  }
  return charts;
}

}  // namespace iol::report
