#include "report/run_metric.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <utility>

#include "base/error.h"

namespace iol::report {
namespace {

using Source = RunMetric::Source;
using Statistic = RunMetric::Statistic;

constexpr std::array<std::pair<std::string_view, Source>, 4> kDurations = {{
    {"ttft", Source::kTtft},
    {"tpot", Source::kTpot},
    {"e2e", Source::kE2e},
    {"itl", Source::kItl},
}};
constexpr std::array<std::pair<std::string_view, Source>, 3> kRates = {{
    {"throughput", Source::kThroughput},
    {"requests", Source::kRequestRate},
    {"goodput", Source::kGoodput},
}};
constexpr std::array<std::pair<std::string_view, double>, 6> kPercentiles = {
    {{"", 50}, {"_p50", 50}, {"_p90", 90}, {"_p95", 95}, {"_p99", 99}, {"_max", 100}}};

std::vector<double> durations_of(const Run& run, Source source) {
  std::vector<double> values;
  const auto add = [&](const std::optional<double>& value) {
    if (value) values.push_back(*value);
  };
  for (const RequestRecord* request : run.requests) {
    if (!request->succeeded()) continue;
    if (source == Source::kTtft) add(request->ttft_ms);
    if (source == Source::kTpot) add(request->tpot_ms());
    if (source == Source::kE2e) add(request->e2e_ms);
    if (source == Source::kItl) {
      values.insert(values.end(), request->itl_ms.begin(), request->itl_ms.end());
    }
  }
  std::sort(values.begin(), values.end());
  return values;
}

}  // namespace

bool RunMetric::higher_is_better() const {
  return source == Source::kThroughput || source == Source::kRequestRate ||
         source == Source::kGoodput;
}

const char* RunMetric::unit() const {
  if (!higher_is_better()) return "ms";
  return source == Source::kThroughput ? "tok/s" : "req/s";
}

std::optional<double> RunMetric::of(const Run& run) const {
  if (source == Source::kThroughput) return run.output_throughput_tok_s;
  if (source == Source::kRequestRate) return run.request_throughput_req_s;
  if (source == Source::kGoodput) return run.goodput_req_s;
  const auto values = durations_of(run, source);
  if (values.empty()) return std::nullopt;
  if (statistic == Statistic::kPercentile) return nearest_rank(values, percent);
  return describe(values)->mean;
}

std::optional<RunMetric> find_run_metric(std::string_view name) {
  RunMetric metric;
  metric.name = name;
  for (const auto& [rate, source] : kRates) {
    if (name != rate) continue;
    metric.source = source;
    return metric;
  }
  for (const auto& [duration, source] : kDurations) {
    if (!name.starts_with(duration)) continue;
    metric.source = source;
    const std::string_view statistic = name.substr(duration.size());
    if (statistic == "_mean") {
      metric.statistic = Statistic::kMean;
      return metric;
    }
    for (const auto& [suffix, percent] : kPercentiles) {
      if (statistic != suffix) continue;
      metric.statistic = Statistic::kPercentile;
      metric.percent = percent;
      return metric;
    }
  }
  return std::nullopt;
}

Gate parse_gate(std::string_view text) {
  const auto sign = text.find('>');
  Gate gate;
  gate.text = text;
  if (sign != std::string_view::npos && text.ends_with('%')) {
    const auto metric = find_run_metric(text.substr(0, sign));
    const std::string_view number = text.substr(sign + 1, text.size() - sign - 2);
    double percent = 0;
    const auto [end, error] =
        std::from_chars(number.data(), number.data() + number.size(), percent);
    const bool is_number = error == std::errc() && end == number.data() + number.size();
    if (metric && is_number && std::isfinite(percent) && percent >= 0 && percent < 100) {
      gate.metric = *metric;
      gate.allowed = percent / 100;
      return gate;
    }
  }
  throw_input_error(
      "--fail-on '{}': expected METRIC>PCT%, as tpot_p99>3%; METRIC is ttft, tpot, e2e or itl with "
      "_p50, _p90, _p95, _p99, _max or _mean, or throughput, requests, goodput; PCT is 0 to below "
      "100",
      text);
}

}  // namespace iol::report
