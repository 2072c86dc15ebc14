#pragma once
// From the records of a run to summary.json, report.md and report.html. Reads records only, so a
// report regenerates on any machine, without the device, the model or the network.
#include <filesystem>
#include <vector>

namespace iol::report {

/// Reads `results_folder`/records.jsonl and writes summary.json, report.md and report.html into
/// `output_folder` (created when missing; may be the same folder). Each file appears whole or not
/// at all. Throws InputError for missing or broken records, ResourceError when a file can't be
/// written.
void write_report(const std::filesystem::path& results_folder,
                  const std::filesystem::path& output_folder);

/// The same over several results folders: one report with one part per run. Subjects are compared
/// only inside a run, because only there their repetitions were interleaved.
void write_report(const std::vector<std::filesystem::path>& results_folders,
                  const std::filesystem::path& output_folder);

}  // namespace iol::report
