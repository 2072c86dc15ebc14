#include "workload/audit_output.h"

namespace iol {
namespace {

using Json = nlohmann::json;

/// An absent number is null, never 0.
Json or_null(const std::optional<double>& value) { return value ? Json(*value) : Json(nullptr); }

Json to_json(const LengthSummary& lengths) {
  return {{"unit", "tokens"},   {"mean", lengths.mean}, {"total", lengths.total},
          {"p50", lengths.p50}, {"p90", lengths.p90},   {"p95", lengths.p95},
          {"p99", lengths.p99}, {"max", lengths.max}};
}

Json to_json(const ArrivalSummary& arrivals) {
  Json windows = Json::array();
  for (const WindowCounts& window : arrivals.windows) {
    windows.push_back({{"window_s", window.window_s},
                       {"windows", window.windows},
                       {"mean", window.mean},
                       {"busiest", window.busiest},
                       {"dispersion", window.dispersion}});
  }
  Json hours = Json::array();
  for (const BusyHour& hour : arrivals.hours) {
    hours.push_back(
        {{"hour", hour.hour}, {"requests", hour.requests}, {"output_tokens", hour.output_tokens}});
  }
  return {{"first_ns", arrivals.first_ns},
          {"span_s", arrivals.span_s},
          {"mean_rate_req_s", arrivals.mean_rate_req_s},
          {"gap_variation", or_null(arrivals.gap_variation)},
          {"gamma_shape", or_null(arrivals.gamma_shape)},
          {"mean_output_tok_s", arrivals.mean_output_tok_s},
          {"busiest_minute_output_tok_s", arrivals.busiest_minute_output_tok_s},
          {"windows", std::move(windows)},
          {"hours", std::move(hours)}};
}

Json to_json(const ConcurrencySummary& concurrency, const ServiceTimes& times) {
  return {{"assumed_ttft_ms", times.ttft_ms},
          {"assumed_tpot_ms", times.tpot_ms},
          {"mean", concurrency.mean},
          {"p50", concurrency.p50},
          {"p95", concurrency.p95},
          {"p99", concurrency.p99},
          {"max", concurrency.max},
          {"mean_tokens", concurrency.mean_tokens},
          {"max_tokens", concurrency.max_tokens}};
}

Json joint_json(const Workload& workload) {
  return {{"input_up_to", kInputEdges},
          {"output_up_to", kOutputEdges},
          {"shares", workload.joint},
          {"log_correlation", or_null(workload.length_correlation)}};
}

}  // namespace

Json audit_json(const Workload& workload, const std::vector<Advice>& advice) {
  Json levers = Json::array();
  for (const Advice& entry : advice) {
    levers.push_back({{"lever", entry.lever},
                      {"verdict", verdict_name(entry.verdict)},
                      {"factor_at_most", or_null(entry.factor)},
                      {"why", entry.why}});
  }
  Json json = {{"trace", workload.path},
               {"form", trace_form_name(workload.form)},
               {"requests", workload.requests},
               {"failed", workload.failed},
               {"skipped", workload.skipped},
               {"lengths_are_estimated", workload.lengths_are_estimated},
               {"input", to_json(workload.input)},
               {"output", to_json(workload.output)},
               {"together", to_json(workload.total)},
               {"percentile_estimator", "nearest rank"},
               {"joint", joint_json(workload)},
               {"static_batch_size", workload.options.static_batch},
               {"static_batch_waste", workload.static_batch_waste},
               {"contiguous_cache_waste", workload.contiguous_waste},
               {"arrivals", nullptr},
               {"concurrency", nullptr},
               {"prefixes", nullptr},
               {"utilization", nullptr},
               {"advice", std::move(levers)}};
  if (workload.arrivals) json["arrivals"] = to_json(*workload.arrivals);
  if (workload.concurrency) {
    json["concurrency"] = to_json(*workload.concurrency, workload.options.times);
  }
  if (workload.prefixes) {
    json["prefixes"] = {{"block_tokens", kTraceBlockTokens},
                        {"blocks", workload.prefixes->blocks},
                        {"different", workload.prefixes->different},
                        {"shared", workload.prefixes->shared},
                        {"sampled", workload.prefixes->sampled}};
  }
  if (const auto utilization = utilization_of(workload)) {
    json["utilization"] = {{"share", utilization->share}, {"sized_for", utilization->sized_for}};
  }
  return json;
}

}  // namespace iol
