#include "audit_page.h"

#include <fmt/format.h>

#include <algorithm>

#include "report/cells.h"
#include "report/format.h"
#include "workload/audit_output.h"

namespace iol::cli {
namespace {

using report::Cell;
using report::Chart;
using report::Finding;
using report::Json;
using report::Level;
using report::Table;
using report::text_cell;

constexpr double kHourS = 3600;
constexpr std::size_t kMostBars = 168;  // a week of hours; more can't be told apart

std::string count(double value) { return report::format_number(value); }

std::string file_name(const Workload& workload) {
  return workload.path.substr(workload.path.find_last_of('/') + 1);
}

report::Prose sentence_of(const Workload& workload, const std::vector<Advice>& advice) {
  report::Prose prose;
  prose.push_back({fmt::format("{} requests", report::format_count(workload.requests)), true});
  prose.push_back({fmt::format(" of {} tokens in and {} out", count(workload.input.mean),
                               count(workload.output.mean))});
  if (workload.arrivals) {
    prose.push_back(
        {fmt::format(", {} a second on average", count(workload.arrivals->mean_rate_req_s))});
  }
  std::string helps;
  for (const Advice& one : advice) {
    if (one.verdict != Advice::Verdict::kHelps) continue;
    helps += (helps.empty() ? "" : ", ") + one.lever;
  }
  prose.push_back({". What would help: "});
  prose.push_back({helps.empty() ? "none of the levers by much" : helps, true});
  prose.push_back({"."});
  return prose;
}

std::vector<report::Tile> tiles_of(const Workload& workload) {
  std::vector<report::Tile> tiles;
  if (workload.arrivals && workload.arrivals->gap_variation) {
    tiles.push_back({fmt::format("{:.2f}", *workload.arrivals->gap_variation), "variation of gaps",
                     "a Poisson process has 1, bursts more"});
  }
  if (workload.concurrency) {
    tiles.push_back({count(workload.concurrency->mean), "requests in flight, mean",
                     fmt::format("if the first token takes {} ms, each further {} ms",
                                 workload.options.times.ttft_ms, workload.options.times.tpot_ms)});
  }
  if (workload.prefixes) {
    tiles.push_back({report::format_percent(workload.prefixes->shared),
                     "of prefix blocks came before",
                     fmt::format("blocks of {} tokens", kTraceBlockTokens)});
  }
  if (const auto utilization = utilization_of(workload)) {
    tiles.push_back({report::format_percent(utilization->share), "utilization",
                     "sized for the " + utilization->sized_for});
  }
  return tiles;
}

Table advice_table(const std::vector<Advice>& advice) {
  Table table;
  table.caption = "What each lever would do for this workload, at best.";
  table.columns = {{"Lever", "", false},
                   {"Verdict", "", false},
                   {"At best", "times better"},
                   {"Why", "", false}};
  for (const Advice& one : advice) {
    report::Row row;
    row.cells = {
        text_cell(one.lever), text_cell(std::string(verdict_name(one.verdict))),
        text_cell(one.factor ? report::format_gain(*one.factor) : std::string(report::kAbsent)),
        text_cell(one.why)};
    row.highlighted = one.verdict == Advice::Verdict::kHelps;
    table.rows.push_back(std::move(row));
  }
  return table;
}

std::vector<Finding> findings_of(const Workload& workload) {
  std::vector<Finding> findings;
  if (workload.lengths_are_estimated) {
    findings.push_back(
        {Level::kWarning, "Lengths",
         "Estimated from the size of the texts (--bytes-per-token): the trace counts "
         "no tokens."});
  } else {
    findings.push_back({Level::kOk, "Lengths", "As the trace counts them."});
  }
  if (workload.failed > 0) {
    findings.push_back({Level::kNote, "Failures",
                        fmt::format("{} requests have no output; they count as arrivals alone.",
                                    report::format_count(workload.failed))});
  }
  if (workload.skipped > 0) {
    findings.push_back({Level::kNote, "Left out",
                        fmt::format("{} conversations of fewer than two turns.",
                                    report::format_count(workload.skipped))});
  }
  if (!workload.arrivals) {
    findings.push_back({Level::kNote, "Arrivals",
                        "The trace has no times: nothing is known of arrivals and requests in "
                        "flight."});
  }
  if (workload.prefixes && workload.prefixes->sampled < 1) {
    findings.push_back({Level::kNote, "Prefixes",
                        fmt::format("Estimated from {} of the block ids, for bounded memory.",
                                    report::format_percent(workload.prefixes->sampled))});
  }
  return findings;
}

Table lengths_table(const Workload& workload) {
  Table table;
  table.caption = "Tokens of a request (percentiles by nearest rank).";
  table.columns = {{"Tokens", "", false}, {"Mean", ""}, {"p50", ""}, {"p90", ""},
                   {"p95", ""},           {"p99", ""},  {"Most", ""}};
  const auto add = [&](const char* name, const LengthSummary& lengths) {
    report::Row row;
    row.cells = {text_cell(name), text_cell(count(lengths.mean))};
    for (const auto value : {lengths.p50, lengths.p90, lengths.p95, lengths.p99, lengths.max}) {
      row.cells.push_back(text_cell(report::format_count(value)));
    }
    table.rows.push_back(std::move(row));
  };
  add("Input", workload.input);
  add("Output", workload.output);
  add("Together", workload.total);
  return table;
}

template <std::size_t N>
std::string edge_text(const std::array<std::int64_t, N>& edges, std::size_t i) {
  return i + 1 < N ? "up to " + report::format_count(edges[i]) : "more";
}

Table joint_table(const Workload& workload) {
  Table table;
  table.caption = "Share of the requests by input (down) and output (across).";
  if (workload.length_correlation) {
    table.caption += fmt::format(" Correlation of the lengths' logarithms: {:+.2f}.",
                                 *workload.length_correlation);
  }
  table.columns = {{"Input tokens", "", false}};
  for (std::size_t o = 0; o < kOutputEdges.size(); ++o) {
    table.columns.push_back({edge_text(kOutputEdges, o), "output"});
  }
  for (std::size_t i = 0; i < kInputEdges.size(); ++i) {
    report::Row row;
    row.cells = {text_cell(edge_text(kInputEdges, i))};
    for (const double share : workload.joint[i]) {
      row.cells.push_back(
          text_cell(share > 0 ? report::format_percent(share) : std::string(report::kAbsent)));
    }
    table.rows.push_back(std::move(row));
  }
  return table;
}

Table windows_table(const Workload& workload) {
  Table table;
  if (!workload.arrivals) return table;
  table.caption = "Arrivals in windows of time; a Poisson process has variance / mean of 1.";
  table.columns = {{"Window", "seconds", false},
                   {"Mean", "requests"},
                   {"Busiest", "requests"},
                   {"Variance / mean", ""}};
  for (const WindowCounts& window : workload.arrivals->windows) {
    report::Row row;
    row.cells = {text_cell(fmt::format("{:g}", window.window_s)), text_cell(count(window.mean)),
                 text_cell(report::format_count(window.busiest)),
                 text_cell(fmt::format("{:.2f}", window.dispersion))};
    table.rows.push_back(std::move(row));
  }
  return table;
}

Table concurrency_table(const Workload& workload) {
  Table table;
  if (!workload.concurrency) return table;
  const ConcurrencySummary& c = *workload.concurrency;
  table.caption = "Requests in flight, as shares of time, and the tokens that they hold.";
  table.columns = {
      {"In flight", "", false}, {"Mean", ""}, {"p50", ""}, {"p95", ""}, {"p99", ""}, {"Most", ""}};
  const std::string absent(report::kAbsent);
  table.rows.push_back(
      {{text_cell("Requests"), text_cell(count(c.mean)), text_cell(report::format_count(c.p50)),
        text_cell(report::format_count(c.p95)), text_cell(report::format_count(c.p99)),
        text_cell(report::format_count(c.max))},
       false});
  table.rows.push_back({{text_cell("Tokens"), text_cell(count(c.mean_tokens)), text_cell(absent),
                         text_cell(absent), text_cell(absent), text_cell(count(c.max_tokens))},
                        false});
  return table;
}

/// Output tokens a second by the hour; of a longer trace the busiest hour of each stretch.
std::optional<Chart> hours_chart(const Workload& workload) {
  if (!workload.arrivals || workload.arrivals->hours.size() < 2) return std::nullopt;
  const auto& hours = workload.arrivals->hours;
  const std::size_t stride = (hours.size() + kMostBars - 1) / kMostBars;
  Json labels = Json::array();
  Json values = Json::array();
  double most = 0;
  for (std::size_t begin = 0; begin < hours.size(); begin += stride) {
    const auto end = std::min(begin + stride, hours.size());
    double busiest = 0;
    for (std::size_t i = begin; i < end; ++i) {
      busiest = std::max(busiest, hours[i].output_tokens / kHourS);
    }
    labels.push_back(std::to_string(hours[begin].hour));
    values.push_back(busiest);
    most = std::max(most, busiest);
  }
  return Chart{
      "hours",
      "Output by the hour",
      fmt::format("Output tokens a second in each of {} hours, {} in the busiest.", hours.size(),
                  count(most)),
      {{"type", "bars"},
       {"x_title", "hours since the first arrival"},
       {"y_title", "output tokens a second"},
       {"categories", std::move(labels)},
       {"series", {{{"label", "output"}, {"subject", 0}, {"values", std::move(values)}}}}}};
}

Table glossary() {
  Table table;
  table.caption = "What the words mean.";
  table.columns = {{"Term", "", false}, {"Meaning", "", false}};
  for (const auto& [term, meaning] : std::vector<std::pair<const char*, const char*>>{
           {"Variation of gaps", "Standard deviation / mean of the times between arrivals."},
           {"Prefix block", "512 tokens; equal ids stand for equal text so far."},
           {"Utilization",
            "Mean output rate over that of the busiest hour (of the busiest minute for a trace "
            "under two hours): what a machine sized for that is used."},
           {"At best", "An upper bound from the workload's own numbers, not a measurement."}}) {
    table.rows.push_back({{text_cell(term), text_cell(meaning)}, false});
  }
  return table;
}

}  // namespace

report::Document audit_page(const Workload& workload, const std::vector<Advice>& advice,
                            const std::string& command) {
  report::RunSection section;
  section.heading = file_name(workload);
  section.context = fmt::format("{} · {}", file_name(workload), trace_form_name(workload.form));
  section.sentence = sentence_of(workload, advice);
  section.tiles = tiles_of(workload);
  section.headline = advice_table(advice);
  section.findings = findings_of(workload);
  if (auto chart = hours_chart(workload)) section.charts.push_back(std::move(*chart));
  for (Table table : {lengths_table(workload), joint_table(workload), windows_table(workload),
                      concurrency_table(workload)}) {
    if (!table.empty()) section.details.push_back(std::move(table));
  }
  section.command = command;
  report::Document document;
  document.title = "Workload: " + file_name(workload);
  document.generated_by = fmt::format("iol {}", IOL_VERSION);
  document.runs = {std::move(section)};
  document.glossary = glossary();
  document.regenerate = {command};
  document.regenerate_from = "The page is made from the trace alone, on any machine:";
  document.footer =
      "Every number on this page is the trace's own, or an upper bound drawn from it.";
  return document;
}

}  // namespace iol::cli
