#include "report/build_document.h"

#include <fmt/format.h>

#include "report/charts.h"
#include "report/confidence.h"
#include "report/details.h"
#include "report/headline.h"
#include "report/ladder.h"

namespace iol::report {
namespace {

RunSection build_section(const RunReport& report, const std::string& prefix) {
  RunSection section;
  add_headline(section, report);
  if (const auto ladder = find_ladder(report)) add_ladder(section, report, *ladder, prefix);
  add_confidence(section, report);
  add_details(section, report);
  section.charts = build_charts(report, prefix);
  return section;
}

}  // namespace

Document build_document(const std::vector<RunReport>& reports) {
  Document document;
  document.generated_by = fmt::format("iol {}", IOL_VERSION);
  std::string folders;
  for (std::size_t i = 0; i < reports.size(); ++i) {
    const std::string prefix = reports.size() == 1 ? "" : fmt::format("run{}-", i + 1);
    document.runs.push_back(build_section(reports[i], prefix));
    folders += " " + reports[i].records.folder.filename().string();
  }
  document.title = reports.size() == 1 ? document.runs.front().heading
                                       : fmt::format("{} benchmark runs", document.runs.size());
  document.glossary = glossary();
  document.regenerate = {fmt::format("iol report{} -o report", folders)};
  return document;
}

}  // namespace iol::report
