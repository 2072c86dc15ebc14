// iol report: rebuilds summary.json, report.md and report.html from the records of past runs.
#include "report/report.h"

#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "command.h"

namespace iol::cli {
namespace {

struct ReportOptions {
  CommonOptions common;
  std::vector<std::string> results;
  std::string output;
  std::string export_form;
};

void run_report(const ReportOptions& options) {
  if (!options.export_form.empty()) {
    throw_input_error(
        "--export {}: not available yet; this version writes report.md, report.html "
        "and summary.json",
        options.export_form);
  }
  if (options.output.empty() && options.results.size() > 1) {
    throw_input_error("-o: name the folder for a report over {} results folders",
                      options.results.size());
  }
  const std::vector<std::filesystem::path> folders(options.results.begin(), options.results.end());
  std::filesystem::path output = options.output;
  if (output.empty()) {
    const bool is_file = std::filesystem::is_regular_file(folders.front());
    output = is_file ? folders.front().parent_path() : folders.front();
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
  command.add_option("--export", options->export_form, "the form of another tool: vllm or aiperf")
      ->check(CLI::IsMember({"vllm", "aiperf"}));
  add_common_options(command, options->common);
  command.footer(
      "Examples:\n"
      "  iol report results/2026-01-31T12-00-00Z-demo\n"
      "  iol report results/monday results/tuesday -o both");
  command.callback([options] { run_report(*options); });
}

}  // namespace iol::cli
