#pragma once
// Memory and energy of a subject, from the device samples that fall into its runs.
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "report/records.h"
#include "report/runs.h"

namespace iol::report {

/// What the device samples say about a set of runs of one subject. Absent means not measured.
struct Resources {
  std::optional<double> memory_peak_bytes;      // highest sample, summed over devices
  std::optional<double> memory_reserved_bytes;  // likewise, or the subject record's
  std::optional<double> power_mean_w;           // summed over devices
  std::optional<double> energy_joules;          // trapezoids over every run's window
  std::string power_missing_because;            // why power_mean_w is absent; empty otherwise
};

/// Samples that name a subject count for that subject only; samples without one (a GPU's) count
/// for whichever run they fall into. A window with a gap over 3 s between its samples has no
/// energy, and then neither has the whole.
Resources measure_resources(const Records& records, std::span<const Run* const> runs);

}  // namespace iol::report
