#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "workload/audit_output.h"

namespace iol {
namespace {

constexpr std::size_t kShownHours = 5;
constexpr double kHourS = 3600;

class AuditText {
 public:
  AuditText(const Workload& workload, const std::vector<Advice>& advice)
      : workload_(workload), advice_(advice) {}

  std::string write() {
    add_heading();
    add_lengths();
    add_joint();
    add_arrivals();
    add_concurrency();
    add_prefixes();
    add_advice();
    return std::move(text_);
  }

 private:
  template <class... Args>
  void line(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(text_), format, std::forward<Args>(args)...);
    text_ += '\n';
  }

  void add_heading() {
    line("{}: {}", workload_.path, trace_form_name(workload_.form));
    std::string left_out;
    if (workload_.failed > 0) left_out += fmt::format(", {} without an output", workload_.failed);
    if (workload_.skipped > 0) {
      left_out +=
          fmt::format(", {} conversations of fewer than two turns left out", workload_.skipped);
    }
    line("{} requests{}", workload_.requests, left_out);
    if (workload_.lengths_are_estimated) {
      line(
          "Lengths are estimated from the size of the texts (--bytes-per-token): the trace counts "
          "no "
          "tokens.");
    }
  }

  void add_lengths() {
    line("");
    line("{:<16}{:>10}{:>9}{:>9}{:>9}{:>9}{:>9}", "tokens", "mean", "p50", "p90", "p95", "p99",
         "max");
    const auto row = [&](const char* name, const LengthSummary& lengths) {
      line("{:<16}{:>10.1f}{:>9}{:>9}{:>9}{:>9}{:>9}", name, lengths.mean, lengths.p50, lengths.p90,
           lengths.p95, lengths.p99, lengths.max);
    };
    row("input", workload_.input);
    row("output", workload_.output);
    row("together", workload_.total);
    line("input : output = {:.1f} : 1",
         workload_.input.total / std::max(workload_.output.total, 1.0));
  }

  void add_joint() {
    line("");
    std::string header;
    for (std::size_t o = 0; o < kOutputEdges.size(); ++o) {
      header +=
          fmt::format("{:>9}", o + 1 < kOutputEdges.size() ? fmt::format("<={}", kOutputEdges[o])
                                                           : std::string("more"));
    }
    line("{:<16}{}   share of the requests by input (down) and output (across)", "", header);
    for (std::size_t i = 0; i < kInputEdges.size(); ++i) {
      std::string row;
      for (const double share : workload_.joint[i])
        row += share > 0 ? fmt::format("{:>7.1f} %", share * 100) : fmt::format("{:>9}", "-");
      line("{:<16}{}", i + 1 < kInputEdges.size() ? fmt::format("<={}", kInputEdges[i]) : "more",
           row);
    }
    if (workload_.length_correlation) {
      line("correlation of the lengths' logarithms: {:+.2f}", *workload_.length_correlation);
    }
  }

  void add_arrivals() {
    if (!workload_.arrivals) {
      line("\nThe trace has no times: nothing is known of arrivals and requests in flight.");
      return;
    }
    const ArrivalSummary& arrivals = *workload_.arrivals;
    line("");
    line("arrivals: {:.2f} a second on average over {:.2f} h", arrivals.mean_rate_req_s,
         arrivals.span_s / kHourS);
    if (arrivals.gap_variation) {
      line("burstiness: the gaps' variation is {:.2f} (Poisson: 1){}", *arrivals.gap_variation,
           arrivals.gamma_shape ? fmt::format(", a gamma shape of {:.2f}", *arrivals.gamma_shape)
                                : "");
    }
    for (const WindowCounts& window : arrivals.windows) {
      line("  windows of {:>4} s: mean {:.1f}, busiest {}, variance / mean {:.2f} (Poisson: 1)",
           window.window_s, window.mean, window.busiest, window.dispersion);
    }
    auto hours = arrivals.hours;
    std::stable_sort(hours.begin(), hours.end(),
                     [](const BusyHour& a, const BusyHour& b) { return a.requests > b.requests; });
    const std::size_t shown = std::min(hours.size(), kShownHours);
    if (hours.size() > 1)
      line("peak hours (from the first arrival on), of {} with arrivals:", hours.size());
    for (std::size_t i = 0; i < shown && hours.size() > 1; ++i) {
      line("  hour {:>4}: {} requests, {:.1f} output tokens a second", hours[i].hour,
           hours[i].requests, hours[i].output_tokens / kHourS);
    }
    if (const auto utilization = utilization_of(workload_)) {
      line("utilization, sized for the {}: {:.0f} % (iol cost --utilization {:.0f})",
           utilization->sized_for, utilization->share * 100, utilization->share * 100);
    }
  }

  void add_concurrency() {
    if (!workload_.concurrency) return;
    const ConcurrencySummary& concurrency = *workload_.concurrency;
    line("");
    line("in flight, if a request takes {} ms to its first token and {} ms for each further one:",
         workload_.options.times.ttft_ms, workload_.options.times.tpot_ms);
    line("  requests: mean {:.1f}, p50 {}, p95 {}, p99 {}, most {} (shares of time)",
         concurrency.mean, concurrency.p50, concurrency.p95, concurrency.p99, concurrency.max);
    line("  their tokens: mean {:.0f}, most {:.0f}", concurrency.mean_tokens,
         concurrency.max_tokens);
  }

  void add_prefixes() {
    if (!workload_.prefixes) return;
    const PrefixSharing& prefixes = *workload_.prefixes;
    line("");
    line("prefixes: {:.0f} blocks of {} tokens, {:.0f} different; {:.1f} % came before",
         prefixes.blocks, kTraceBlockTokens, prefixes.different, prefixes.shared * 100);
    if (prefixes.sampled < 1) {
      line("  estimated from {:.2f} % of the ids, for bounded memory", prefixes.sampled * 100);
    }
  }

  void add_advice() {
    line("");
    line("advice");
    for (const Advice& advice : advice_) {
      line("  {:<20}{:<9}{:<12}{}", advice.lever, verdict_name(advice.verdict),
           advice.factor ? fmt::format("<= {:.2f}x", *advice.factor) : "", advice.why);
    }
  }

  const Workload& workload_;
  const std::vector<Advice>& advice_;
  std::string text_;
};

}  // namespace

std::optional<Utilization> utilization_of(const Workload& workload) {
  if (!workload.arrivals || workload.arrivals->mean_output_tok_s <= 0) return std::nullopt;
  const ArrivalSummary& arrivals = *workload.arrivals;
  if (arrivals.span_s < 2 * kHourS) {
    return Utilization{arrivals.mean_output_tok_s / arrivals.busiest_minute_output_tok_s,
                       "busiest minute"};
  }
  double busiest = 0;
  for (const BusyHour& hour : arrivals.hours)
    busiest = std::max(busiest, hour.output_tokens / kHourS);
  return Utilization{std::min(arrivals.mean_output_tok_s / busiest, 1.0), "busiest hour"};
}

std::string audit_text(const Workload& workload, const std::vector<Advice>& advice) {
  return AuditText(workload, advice).write();
}

}  // namespace iol
