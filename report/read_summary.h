#pragma once
// Reads a results folder's summary.json back: what was measured per subject and load.
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace iol::report {

/// One subject under one load.
struct MeasuredLoad {
  std::string subject;
  std::string label;
  std::string scenario;
  std::int64_t concurrency = 1;
  std::optional<double> output_throughput_tok_s;
  std::optional<double> power_mean_w;
};

struct MeasuredRun {
  std::string run_id;
  std::filesystem::path file;
  std::vector<MeasuredLoad> loads;  // in the file's order: by subject, scenario, concurrency
};

/// `folder`, or a summary.json itself. Throws InputError of one line for a folder without one, text
/// that isn't JSON, fields of the wrong type, throughputs that aren't above 0, several runs in one
/// file, a newer schema.
MeasuredRun read_summary(const std::filesystem::path& folder);

}  // namespace iol::report
