#pragma once
// Memory and energy of a subject, from the device samples that fall into its runs.
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "report/records.h"
#include "report/runs.h"

namespace iol::report {

inline constexpr std::string_view kHostDevice = "cpu";
/// True when a GPU was sampled: then the host's memory isn't the subjects'.
bool has_gpu_samples(const Records& records);
/// True when the sample was taken during the run, and not of another subject.
bool falls_into(const DeviceSample& sample, const Run& run);

/// What the device samples say about a set of runs of one subject. Absent means not measured.
struct Resources {
  std::optional<double> memory_peak_bytes;      // highest sample, summed over devices
  std::optional<double> memory_reserved_bytes;  // likewise, or the subject record's
  std::optional<double> power_mean_w;           // summed over devices
  std::optional<double> energy_joules;          // trapezoids over every run's window
  std::optional<double> counted_joules;         // the same by the devices' own energy counters
  std::string power_missing_because;            // why power_mean_w is absent; empty otherwise
};

/// Memory is that of the GPUs where there are any, else that of the processes in the machine's.
///
/// Samples that name a subject count for that subject only; samples without one (a GPU's) count
/// for whichever run they fall into. A window with a gap over 3 s between its samples has no
/// energy, and then neither has the whole.
Resources measure_resources(const Records& records, std::span<const Run* const> runs);

}  // namespace iol::report
