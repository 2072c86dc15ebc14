#include "report/charts.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <set>

#include "report/format.h"
#include "report/headline.h"
#include "report/load_tables.h"
#include "report/resources.h"

namespace iol::report {
namespace {

constexpr int kNumCdfPoints = 101;
constexpr std::size_t kMaxTimePoints = 240;  // per subject; more can't be told apart on a screen

using Value = std::function<std::optional<double>(const Summary&)>;

Json series_of(const RunReport& report, const SubjectRecord& subject) {
  return {{"label", subject.label}, {"subject", index_of(report, subject.name)}};
}

std::set<std::int64_t> concurrencies(const RunReport& report) {
  std::set<std::int64_t> result;
  for (const Summary& summary : report.summaries) {
    if (summary.scenario == "throughput") result.insert(summary.concurrency);
  }
  return result;
}

/// "pytorch-eager 57 to 4,594; iol ..." for readers who can't see the chart.
std::string range_text(const Json& series) {
  std::string text;
  for (const Json& one : series) {
    std::vector<double> values;
    for (const Json& value : one.at("values")) {
      if (value.is_number()) values.push_back(value.get<double>());
    }
    if (values.empty()) continue;
    text +=
        fmt::format("{}{} {} to {}", text.empty() ? "" : "; ", one.at("label").get<std::string>(),
                    format_number(values.front()), format_number(values.back()));
  }
  return text;
}

/// One line per subject over the concurrencies of the throughput scenario.
std::optional<Chart> concurrency_chart(const RunReport& report, Chart chart,
                                       const std::string& y_title, const Value& value) {
  const auto levels = concurrencies(report);
  if (levels.size() < 2) return std::nullopt;
  Json categories = Json::array();
  for (const std::int64_t level : levels) categories.push_back(std::to_string(level));
  Json all_series = Json::array();
  for (const SubjectRecord& subject : report.records.subjects) {
    Json values = Json::array();
    bool any = false;
    for (const std::int64_t level : levels) {
      const Summary* summary = report.find_summary(subject.name, "throughput", level);
      const auto number = summary != nullptr ? value(*summary) : std::nullopt;
      any = any || number.has_value();
      values.push_back(number ? Json(*number) : Json(nullptr));
    }
    if (!any) continue;
    Json series = series_of(report, subject);
    series["values"] = std::move(values);
    all_series.push_back(std::move(series));
  }
  if (all_series.empty()) return std::nullopt;
  chart.description += ", from " + std::to_string(*levels.begin()) + " to " +
                       std::to_string(*levels.rbegin()) + " streams: " + range_text(all_series) +
                       ".";
  chart.data = {{"type", "line"},
                {"x_title", "streams at once"},
                {"y_title", y_title},
                {"categories", std::move(categories)},
                {"series", std::move(all_series)}};
  return chart;
}

/// p50, p90 and p99 of one metric, one group of bars per subject.
std::optional<Chart> percentile_chart(const RunReport& report, Chart chart,
                                      const std::string& metric) {
  const Focus focus = find_focus(report);
  Json all_series = Json::array();
  for (const SubjectRecord& subject : report.records.subjects) {
    const Summary* summary = focus.latency(report, subject.name);
    const MetricSummary* found = summary != nullptr ? summary->find(metric) : nullptr;
    if (found == nullptr) continue;
    const Distribution& d = found->distribution;
    Json series = series_of(report, subject);
    series["values"] = {d.p50, d.p90, d.p99};
    all_series.push_back(std::move(series));
  }
  if (all_series.empty()) return std::nullopt;
  chart.description += ", p50 to p99 in ms: " + range_text(all_series) + ".";
  chart.data = {{"type", "bars"},
                {"x_title", "percentile of the requests"},
                {"y_title", "ms"},
                {"categories", {"p50", "p90", "p99"}},
                {"series", std::move(all_series)}};
  return chart;
}

std::vector<double> sorted_itl(const RunReport& report, const Focus& focus,
                               const std::string& subject) {
  std::vector<double> values;
  for (const RequestRecord& request : report.records.requests) {
    if (request.warmup || !request.succeeded() || request.run.subject != subject) continue;
    if (request.run.scenario != focus.latency_scenario) continue;
    if (request.run.concurrency != focus.latency_concurrency) continue;
    values.insert(values.end(), request.itl_ms.begin(), request.itl_ms.end());
  }
  std::sort(values.begin(), values.end());
  return values;
}

std::optional<Chart> itl_chart(const RunReport& report, Chart chart) {
  const Focus focus = find_focus(report);
  Json all_series = Json::array();
  for (const SubjectRecord& subject : report.records.subjects) {
    const auto values = sorted_itl(report, focus, subject.name);
    if (values.empty()) continue;
    Json points = Json::array();
    for (int i = 0; i < kNumCdfPoints; ++i) {
      const double percent = std::max(0.1, 100.0 * i / (kNumCdfPoints - 1));
      points.push_back({nearest_rank(values, percent), percent});
    }
    Json series = series_of(report, subject);
    series["points"] = std::move(points);
    all_series.push_back(std::move(series));
    chart.description += fmt::format("; {}: half within {}, 99 % within {}", subject.label,
                                     format_duration_ms(nearest_rank(values, 50)),
                                     format_duration_ms(nearest_rank(values, 99)));
  }
  if (all_series.empty()) return std::nullopt;
  chart.description += ".";
  chart.data = {{"type", "cdf"},
                {"x_title", "gap between tokens, ms (logarithmic)"},
                {"y_title", "% of the gaps at most this long"},
                {"series", std::move(all_series)}};
  return chart;
}

struct TimePoint {
  double seconds;
  double value;
};

bool is_lower(const TimePoint& a, const TimePoint& b) { return a.value < b.value; }

/// At most kMaxTimePoints, each the highest of its stretch: a peak must not vanish.
Json thin_out(const std::vector<TimePoint>& points, double scale) {
  Json result = Json::array();
  const std::size_t stride = (points.size() + kMaxTimePoints - 1) / kMaxTimePoints;
  for (std::size_t begin = 0; begin < points.size(); begin += stride) {
    const std::size_t end = std::min(begin + stride, points.size());
    const auto highest =
        std::max_element(points.begin() + static_cast<std::ptrdiff_t>(begin),
                         points.begin() + static_cast<std::ptrdiff_t>(end), is_lower);
    result.push_back({highest->seconds, highest->value * scale});
  }
  return result;
}

/// What is drawn over time of every subject's device samples.
struct TimeSeries {
  std::optional<double> DeviceSample::*field;
  double scale;
  const char* unit;
  std::string (*format)(double value);
};

std::optional<Chart> time_chart(const RunReport& report, Chart chart, const TimeSeries& series_of) {
  const auto& samples = report.records.device_samples;
  if (samples.empty()) return std::nullopt;
  const bool skips_host =
      series_of.field == &DeviceSample::memory_used_bytes && has_gpu_samples(report.records);
  std::int64_t start_ns = samples.front().t_ns;
  for (const DeviceSample& sample : samples) start_ns = std::min(start_ns, sample.t_ns);
  std::map<std::string, std::vector<TimePoint>> by_subject;  // "" is the device as a whole
  for (const DeviceSample& sample : samples) {
    const auto& value = sample.*series_of.field;
    if (!value || (skips_host && sample.device == kHostDevice)) continue;
    by_subject[sample.subject.value_or("")].push_back(
        {static_cast<double>(sample.t_ns - start_ns) * 1e-9, *value});
  }
  Json all_series = Json::array();
  for (auto& [subject, points] : by_subject) {
    if (!subject.empty() && report.records.find_subject(subject) == nullptr) continue;
    std::sort(points.begin(), points.end(),
              [](const TimePoint& a, const TimePoint& b) { return a.seconds < b.seconds; });
    Json series = {{"label", subject.empty() ? "device" : label_of(report, subject)},
                   {"subject", subject.empty() ? 0 : index_of(report, subject)},
                   {"points", thin_out(points, series_of.scale)}};
    const auto peak = std::max_element(points.begin(), points.end(), is_lower);
    chart.description += fmt::format("; {} peaks at {}", series["label"].get<std::string>(),
                                     series_of.format(peak->value));
    all_series.push_back(std::move(series));
  }
  if (all_series.empty()) return std::nullopt;
  std::sort(all_series.begin(), all_series.end(),
            [](const Json& a, const Json& b) { return a.at("subject") < b.at("subject"); });
  chart.description += ".";
  chart.data = {{"type", "time"},
                {"x_title", "seconds since the run began"},
                {"y_title", series_of.unit},
                {"series", std::move(all_series)}};
  return chart;
}

/// The run whose steps are drawn: of the load with the most streams, the first repetition.
std::optional<RunKey> traced_run(const RunReport& report, const std::string& subject) {
  std::optional<RunKey> chosen;
  for (const StepRecord& step : report.records.steps) {
    if (step.run.subject != subject) continue;
    const bool is_better =
        !chosen || step.run.concurrency > chosen->concurrency ||
        (step.run.concurrency == chosen->concurrency && step.run.repetition < chosen->repetition);
    if (is_better) chosen = step.run;
  }
  return chosen;
}

/// A value of every step over one run of each subject that traced its steps.
std::optional<Chart> step_chart(const RunReport& report, Chart chart, const char* y_title,
                                double (*value)(const StepRecord&)) {
  Json all_series = Json::array();
  for (const SubjectRecord& subject : report.records.subjects) {
    const auto run = traced_run(report, subject.name);
    if (!run) continue;
    std::vector<TimePoint> points;
    std::optional<std::int64_t> start_ns;
    for (const StepRecord& step : report.records.steps) {
      if (step.run != *run) continue;
      if (!start_ns) start_ns = step.t_ns;
      points.push_back({static_cast<double>(step.t_ns - *start_ns) * 1e-9, value(step)});
    }
    const auto highest = std::max_element(points.begin(), points.end(), is_lower);
    chart.description += fmt::format("; {}, {}: {} steps, at most {}", subject.label,
                                     load_text(run->scenario, run->concurrency), points.size(),
                                     format_number(highest->value));
    Json series = series_of(report, subject);
    series["points"] = thin_out(points, 1);
    all_series.push_back(std::move(series));
  }
  if (all_series.empty()) return std::nullopt;
  chart.description += ".";
  chart.data = {{"type", "time"},
                {"x_title", "seconds since the run's first step"},
                {"y_title", y_title},
                {"series", std::move(all_series)}};
  return chart;
}

std::string format_watts(double watts) { return format_number(watts) + " W"; }

}  // namespace

std::vector<Chart> build_charts(const RunReport& report, const std::string& prefix) {
  const auto chart = [&](const char* id, std::string title, std::string description) {
    return Chart{prefix + id, std::move(title), std::move(description), Json()};
  };
  const Focus focus = find_focus(report);
  const std::string streams = load_text(focus.latency_scenario, focus.latency_concurrency);
  std::vector<Chart> charts;
  const auto keep = [&](std::optional<Chart> built) {
    if (built) charts.push_back(std::move(*built));
  };
  keep(concurrency_chart(
      report, chart("throughput", "Throughput against concurrency", "Output tokens per second"),
      "tokens/s", [](const Summary& summary) { return summary.output_throughput_tok_s; }));
  keep(concurrency_chart(
      report,
      chart("tpot", "Time per token against concurrency", "Median time per output token in ms"),
      "ms per token, median", [](const Summary& summary) {
        const MetricSummary* found = summary.find("inter_token_latency");
        return found != nullptr ? std::optional(found->distribution.p50) : std::nullopt;
      }));
  for (Chart& built : load_charts(report, prefix)) charts.push_back(std::move(built));
  keep(percentile_chart(
      report, chart("latency", "Request latency, " + streams, "Request latency of " + streams),
      "request_latency"));
  keep(percentile_chart(
      report, chart("ttft", "Time to first token, " + streams, "Time to first token of " + streams),
      "time_to_first_token"));
  keep(itl_chart(report, chart("itl", "Gaps between tokens, " + streams,
                               "Distribution of the gaps between tokens of " + streams)));
  keep(time_chart(report, chart("memory", "Memory over time", "Memory over the run"),
                  {&DeviceSample::memory_used_bytes, 1e-6, "MB", format_bytes}));
  keep(time_chart(report, chart("power", "Power over time", "Power over the run"),
                  {&DeviceSample::power_w, 1, "W", format_watts}));
  keep(step_chart(report,
                  chart("steps-running", "Sequences in each step, one run",
                        "Sequences in each step over one run"),
                  "sequences",
                  [](const StepRecord& step) { return static_cast<double>(step.running); }));
  keep(step_chart(
      report,
      chart("steps-duration", "Duration of each step, one run", "Duration of each step in ms"),
      "ms", [](const StepRecord& step) { return static_cast<double>(step.duration_ns) * 1e-6; }));
  return charts;
}

}  // namespace iol::report
