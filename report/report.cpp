#include "report/report.h"

#include <set>
#include <string>

#include "base/error.h"
#include "report/build_document.h"
#include "report/html.h"
#include "report/markdown.h"
#include "report/summary.h"
#include "report/write_file.h"

namespace iol::report {
namespace {

void create_folder(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error || !std::filesystem::is_directory(folder, error)) {
    throw_resource_error("{}: can't be created as a folder{}{}; choose another with -o",
                         folder.string(), error ? ": " : "", error ? error.message() : "");
  }
}

std::vector<RunReport> read_reports(const std::vector<std::filesystem::path>& folders) {
  if (folders.empty()) throw_input_error("no results folder given; 'iol bench' writes one");
  std::vector<RunReport> reports;
  std::set<std::string> run_ids;
  for (const auto& folder : folders) {
    Records records = read_records(folder);
    if (!run_ids.insert(records.run_id).second) {
      throw_input_error("{}: run '{}' is given twice; name each results folder once",
                        folder.string(), records.run_id);
    }
    reports.push_back(summarize(std::move(records)));
  }
  return reports;
}

Json summary_json(const std::vector<RunReport>& reports) {
  if (reports.size() == 1) return to_json(reports.front());
  Json runs = Json::array();
  for (const RunReport& report : reports) runs.push_back(to_json(report));
  return {{"runs", std::move(runs)}};
}

}  // namespace

void write_report(const std::filesystem::path& results_folder,
                  const std::filesystem::path& output_folder) {
  write_report(std::vector<std::filesystem::path>{results_folder}, output_folder);
}

void write_report(const std::vector<std::filesystem::path>& results_folders,
                  const std::filesystem::path& output_folder) {
  const std::vector<RunReport> reports = read_reports(results_folders);
  const Document document = build_document(reports);
  create_folder(output_folder);
  write_file_atomically(output_folder / "summary.json", summary_json(reports).dump(2) + "\n");
  write_file_atomically(output_folder / "report.md", render_markdown(document));
  write_file_atomically(output_folder / "report.html", render_html(document));
}

}  // namespace iol::report
