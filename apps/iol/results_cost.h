#pragma once
// From the throughputs of a results folder to a question about money.
#include <cstdint>
#include <filesystem>
#include <string>

#include "economics/cost_case.h"
#include "report/read_summary.h"

namespace iol::cli {

/// Which load to take; left as it is, the largest one that every subject ran.
struct LoadChoice {
  std::string scenario = {};
  std::int64_t concurrency = 0;
};

/// Adds every subject with its throughput under the chosen load, the same work for all of them.
/// Throws InputError when there is no load whose throughput is known of all subjects.
void take_measurements(const report::MeasuredRun& run, const LoadChoice& choice,
                       economics::CostQuestion& question);

/// Puts into a results folder what a million output tokens cost at this price when every paid hour
/// is spent at the measured throughput, and writes its report anew.
void record_costs(const std::filesystem::path& folder, double usd_per_device_hour);

}  // namespace iol::cli
