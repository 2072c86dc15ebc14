#include "report/confidence.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <set>

#include "report/findings.h"
#include "report/format.h"
#include "report/headline.h"

namespace iol::report {
namespace {

Table not_measured_table(const RunReport& report) {
  Table table;
  table.caption = "What this run did not measure, and why.";
  table.columns = {{"Not measured", "", false}, {"Why", "", false}};
  std::set<std::string> listed;
  const auto add = [&](const std::string& what, const std::string& why) {
    if (!listed.insert(what).second) return;
    Row row;
    row.cells.resize(2);
    row.cells[0].text = what;
    if (!what.empty()) {
      row.cells[0].text[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(what[0])));
    }
    row.cells[1].text = why;
    table.rows.push_back(std::move(row));
  };
  for (const NotMeasured& item : report.records.environment.not_measured) add(item.what, item.why);
  for (const SubjectRecord& subject : report.records.subjects) {
    const Cell quality = quality_cell(report, subject.name);
    if (quality.note == "not measured") {
      add("Quality of " + subject.label, "the records hold no quality result for it");
    }
    if (!subject.weight_bytes_per_step || !subject.kv_bytes_per_token) {
      add("Percent of limit of " + subject.label, "the bytes it reads per step are not known");
    }
  }
  const bool has_power =
      std::any_of(report.records.device_samples.begin(), report.records.device_samples.end(),
                  [](const DeviceSample& sample) { return sample.power_w.has_value(); });
  const bool explained = std::any_of(listed.begin(), listed.end(), [](const std::string& what) {
    return what.find("ower") != std::string::npos || what.find("nergy") != std::string::npos;
  });
  if (!has_power && !explained)
    add("Power and energy", report.records.power_unavailable.empty()
                                ? "no power reading in the records"
                                : report.records.power_unavailable);
  return table;
}

Table repeatability_table(const RunReport& report) {
  Table table;
  table.caption =
      "Repeatability: output tokens/s over the repetitions, and each subject against "
      "itself (A/A; a sound run has 1 inside the interval).";
  table.columns = {{"Subject", "", false},
                   {"Scenario", "", false},
                   {"Repetitions", ""},
                   {"Requests", ""},
                   {"Failed", ""},
                   {"Tokens/s", "mean ± std"},
                   {"Variation", "std / mean"},
                   {"A/A", "ratio"},
                   {"Canary", "median"},
                   {"Marked", "runs"}};
  for (const Summary& summary : report.summaries) {
    std::vector<Cell> cells(10);
    cells[0].text = label_of(report, summary.subject);
    cells[0].subject = index_of(report, summary.subject);
    cells[1].text = summary.scenario;
    if (summary.concurrency > 0) cells[1].text += ", " + streams_text(summary.concurrency);
    cells[2].text = std::to_string(summary.repetitions);
    cells[3].text = format_count(summary.requests);
    cells[4].text = std::to_string(summary.failed);
    cells[5].text = cells[6].text = cells[7].text = kAbsent;
    if (const auto& rate = summary.throughput_per_repetition) {
      cells[5].text = fmt::format("{} ± {}", format_number(rate->mean), format_number(rate->std));
      if (rate->mean > 0) cells[6].text = format_percent(rate->std / rate->mean);
    }
    if (const auto& self = summary.self_ratio) {
      cells[7].text = format_number(self->ratio);
      if (self->interval) cells[7].note = format_interval(*self->interval);
    }
    cells[8].text = format_or_absent(summary.canary_bytes_per_s, format_bandwidth);
    cells[9].text = std::to_string(summary.runs_with_moved_canary);
    if (summary.runs_with_length_off > 0) {
      cells[9].note = fmt::format("{} with length off", summary.runs_with_length_off);
    }
    table.rows.push_back({std::move(cells), false});
  }
  return table;
}

}  // namespace

void add_confidence(RunSection& section, const RunReport& report) {
  section.findings = find_findings(report);
  section.not_measured = not_measured_table(report);
  section.repeatability = repeatability_table(report);
}

}  // namespace iol::report
