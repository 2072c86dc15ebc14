#pragma once
// Open loops and sweeps as tables and pictures.
#include <string>
#include <vector>

#include "report/document.h"
#include "report/summary.h"

namespace iol::report {

/// One row per subject and open loop: rates, objectives met, latencies, the generator itself. Empty
/// when the run had none.
Table load_table(const RunReport& report);

/// One row per subject: the highest rate at which it met its objectives. Empty without a sweep.
Table sweep_table(const RunReport& report);

/// Latency against the rate of arrivals, of sweeps and of loads at several rates.
std::vector<Chart> load_charts(const RunReport& report, const std::string& prefix);

}  // namespace iol::report
