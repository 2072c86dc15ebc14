#include "report/sources.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "report/cells.h"
#include "report/format.h"
#include "report/headline.h"

namespace iol::report {
namespace {

/// As it may stand in an id.
std::string id_part(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return std::isalnum(c) == 0; }, '-');
  return text;
}

struct Lines {
  std::int64_t first = 0;
  std::int64_t last = 0;
  void add(std::int64_t line) {
    first = first == 0 ? line : std::min(first, line);
    last = std::max(last, line);
  }
};

Lines lines_of(const RunReport& report, const Summary& summary) {
  Lines lines;
  for (const RequestRecord& request : report.records.requests) {
    const RunKey& run = request.run;
    if (request.warmup || run.subject != summary.subject || run.scenario != summary.scenario ||
        run.concurrency != summary.concurrency) {
      continue;
    }
    lines.add(request.line);
  }
  return lines;
}

std::string filter_of(const Summary& summary) {
  return fmt::format(
      "jq 'select(.metadata.subject=={} and .metadata.scenario=={} and .metadata.concurrency=={} "
      "and .metadata.phase==\"measure\")' records.jsonl",
      Json(summary.subject).dump(), Json(summary.scenario).dump(), summary.concurrency);
}

}  // namespace

std::string source_id(const RunReport& report, const Summary& summary) {
  return fmt::format("records-{}-{}-{}-{}", id_part(report.records.run_id),
                     index_of(report, summary.subject), id_part(summary.scenario),
                     summary.concurrency);
}

Table sources_table(const RunReport& report) {
  Table table;
  table.caption =
      "The requests that the figures are made of, in records.jsonl; canaries, memory and steps of "
      "the same runs stand beside them. Figures with a dotted line lead here.";
  table.columns = {{"Subject", "scenario", false},
                   {"Requests", ""},
                   {"Repetitions", ""},
                   {"Lines", "first to last"},
                   {"Picked out by", "", false}};
  for (const Summary& summary : report.summaries) {
    const Lines lines = lines_of(report, summary);
    Row row;
    row.id = source_id(report, summary);
    row.cells = {subject_cell(report, summary.subject,
                              summary.concurrency == 0
                                  ? summary.scenario
                                  : summary.scenario + ", " + streams_text(summary.concurrency)),
                 text_cell(format_count(summary.requests)),
                 text_cell(std::to_string(summary.repetitions)),
                 text_cell(format_count(lines.first) + " to " + format_count(lines.last)),
                 text_cell(filter_of(summary))};
    table.rows.push_back(std::move(row));
  }
  return table;
}

}  // namespace iol::report
