// iol report: rebuilds summary.json, report.md and report.html from the records of past runs.
#include "report/report.h"

#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "command.h"
#include "report/export.h"

namespace iol::cli {
namespace {

struct ReportOptions {
  CommonOptions common;
  std::vector<std::string> results;
  std::string output;
  std::string export_form;
};

std::filesystem::path folder_of(const std::filesystem::path& results) {
  return std::filesystem::is_regular_file(results) ? results.parent_path() : results;
}

void run_export(const ReportOptions& options) {
  if (options.results.size() > 1) {
    throw_input_error("--export {}: of one results folder at a time", options.export_form);
  }
  const std::filesystem::path results = options.results.front();
  const auto output =
      options.output.empty() ? folder_of(results) : std::filesystem::path(options.output);
  for (const auto& file : report::write_export(options.export_form, results, output)) {
    fmt::print("{}\n", file.string());
  }
}

void run_report(const ReportOptions& options) {
  if (!options.export_form.empty()) return run_export(options);
  if (options.output.empty() && options.results.size() > 1) {
    throw_input_error("-o: name the folder for a report over {} results folders",
                      options.results.size());
  }
  const std::vector<std::filesystem::path> folders(options.results.begin(), options.results.end());
  std::filesystem::path output = options.output;
  if (output.empty()) {
    output = folder_of(folders.front());
  }
  report::write_report(folders, output);
  if (options.common.json) {
    const nlohmann::json written = {{"summary", (output / "summary.json").string()},
                                    {"markdown", (output / "report.md").string()},
                                    {"html", (output / "report.html").string()}};
    fmt::print("{}\n", written.dump());
  } else if (!options.common.quiet) {
    fmt::print(stderr, "wrote {}\n", (output / "report.html").string());
  }
}

}  // namespace

void add_report_command(CLI::App& program) {
  auto options = std::make_shared<ReportOptions>();
  CLI::App& command =
      *program.add_subcommand("report", "rebuild report.md and report.html from records");
  command.add_option("results", options->results, "results folders, as 'iol bench' writes them")
      ->required();
  command.add_option("-o,--output", options->output,
                     "where to write; the results folder itself when there is one");
  command
      .add_option("--export", options->export_form,
                  "write another tool's form instead: vllm, aiperf, or perfetto (requests and, of "
                  "'iol bench --trace-steps', steps over time)")
      ->check(CLI::IsMember({"vllm", "aiperf", "perfetto"}));
  add_common_options(command, options->common);
  command.footer(
      "Examples:\n"
      "  iol report results/2026-01-31T12-00-00Z-demo\n"
      "  iol report results/monday results/tuesday -o both\n"
      "  iol report results/monday --export perfetto");
  command.callback([options] { run_report(*options); });
}

}  // namespace iol::cli
