#include "bench/sweep.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "bench/json_or_null.h"
#include "report/statistics.h"

namespace iol::bench {
namespace {

using nlohmann::json;

constexpr double kPercentile = 99;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

double milliseconds(std::int64_t ns) { return static_cast<double>(ns) * 1e-6; }

/// Nothing for no value, and where the percentile is a failed request.
std::optional<double> p99(std::vector<double> values) {
  if (values.empty()) return std::nullopt;
  std::sort(values.begin(), values.end());
  const double value = report::nearest_rank(values, kPercentile);
  return std::isfinite(value) ? std::optional(value) : std::nullopt;
}

/// True when there is no such objective, or the percentile is within it.
bool within(const json& slo, const char* name, const std::optional<double>& value) {
  const auto limit = slo.find(name);
  if (limit == slo.end()) return true;
  return value && *value <= limit->get<double>();
}

double tightest_ms(const json& slo) {
  double tightest = kInfinity;
  for (const char* name : {"ttft_ms", "tpot_ms", "e2e_ms"}) {
    const auto limit = slo.find(name);
    if (limit != slo.end()) tightest = std::min(tightest, limit->get<double>());
  }
  return tightest;
}

json probe_json(const Probe& probe) {
  return {{"rate_req_s", probe.rate_req_s},
          {"passed", probe.passed},
          {"requests", probe.requests},
          {"failed", probe.failed},
          {"ttft_p99_ms", or_null(probe.ttft_p99_ms)},
          {"tpot_p99_ms", or_null(probe.tpot_p99_ms)},
          {"e2e_p99_ms", or_null(probe.e2e_p99_ms)},
          {"output_throughput_tok_s", probe.output_throughput_tok_s},
          {"lateness_p99_ms", or_null(probe.lateness_p99_ms)}};
}

}  // namespace

void RateSearch::report(bool passed) {
  const double rate = *next_;
  (passed ? passed_ : failed_) = rate;
  ++num_probes_;
  next_.reset();
  if (num_probes_ == kMostProbes) return;
  if (passed_ && failed_) {
    if (*failed_ / *passed_ > 1 + kPrecision) next_ = std::sqrt(*failed_ * *passed_);
  } else if (passed && rate < kHighestRate) {
    next_ = std::min(2 * rate, kHighestRate);
  } else if (!passed && rate > kLowestRate) {
    next_ = std::max(rate / 2, kLowestRate);
  }
}

Probe judge_probe(double rate_req_s, const RunResult& result, const json& slo) {
  Probe probe;
  probe.rate_req_s = rate_req_s;
  probe.requests = static_cast<std::int64_t>(result.requests.size());
  std::vector<double> ttft;
  std::vector<double> tpot;
  std::vector<double> e2e;
  std::int64_t tokens = 0;
  std::int64_t last_ns = result.start_ns;
  for (const RequestResult& request : result.requests) {
    const auto& times = request.token_times_ns;
    if (request.error || times.empty()) {
      ++probe.failed;
      for (auto* values : {&ttft, &tpot, &e2e}) values->push_back(kInfinity);
      continue;
    }
    ttft.push_back(milliseconds(times.front() - request.intended_start_ns));
    e2e.push_back(milliseconds(times.back() - request.intended_start_ns));
    const auto count = request.num_output_tokens.value_or(static_cast<std::int64_t>(times.size()));
    if (count > 1) {
      tpot.push_back(milliseconds(times.back() - times.front()) / static_cast<double>(count - 1));
    }
    tokens += count;
    last_ns = std::max(last_ns, times.back());
  }
  probe.ttft_p99_ms = p99(std::move(ttft));
  probe.tpot_p99_ms = p99(std::move(tpot));
  probe.e2e_p99_ms = p99(std::move(e2e));
  if (last_ns > result.start_ns) {
    probe.output_throughput_tok_s =
        static_cast<double>(tokens) / (milliseconds(last_ns - result.start_ns) * 1e-3);
  }
  if (result.details.contains("generator")) {
    probe.lateness_p99_ms = result.details["generator"].at("lateness_p99_ms").get<double>();
  }
  probe.passed = within(slo, "ttft_ms", probe.ttft_p99_ms) &&
                 within(slo, "tpot_ms", probe.tpot_p99_ms) &&
                 within(slo, "e2e_ms", probe.e2e_p99_ms) && 100 * probe.failed <= probe.requests;
  if (probe.lateness_p99_ms.value_or(0) > tightest_ms(slo) / 10) probe.passed = false;
  return probe;
}

std::optional<LoadPoint> SubjectSweep::next_point() const {
  const auto rate = search_.next();
  if (!rate) return std::nullopt;
  return rate_point(inputs_->options, *rate);
}

std::vector<WorkloadRequest> SubjectSweep::requests(const LoadPoint& point) const {
  return inputs_->maker.make(point, point.num_requests);
}

void SubjectSweep::judge(const LoadPoint& point, const RunResult& result) {
  probes_.push_back(judge_probe(*point.rate_req_s, result, inputs_->slo));
  search_.report(probes_.back().passed);
}

double SubjectSweep::best_rate_req_s() const {
  if (search_.highest_passed()) return *search_.highest_passed();
  return search_.lowest_failed().value_or(inputs_->first_rate_req_s);
}

json SubjectSweep::record() const {
  json probes = json::array();
  for (const Probe& probe : probes_) probes.push_back(probe_json(probe));
  return {{"subject", subject_->name()},
          {"arrival", inputs_->options.arrival.text()},
          {"slo", inputs_->slo},
          {"percentile", kPercentile},
          {"seconds_per_probe", inputs_->options.duration_s},
          {"highest_rate_req_s", or_null(search_.highest_passed())},
          {"lowest_missed_rate_req_s", or_null(search_.lowest_failed())},
          {"probes", std::move(probes)}};
}

}  // namespace iol::bench
