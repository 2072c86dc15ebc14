#pragma once
#include <vector>

#include "report/document.h"
#include "report/summary.h"

namespace iol::report {

/// What a reader has to know before believing the numbers, warnings first: repetitions, intervals,
/// failures, canaries, GPU clocks, output lengths, noise, equal outputs, records that contradict
/// themselves.
std::vector<Finding> find_findings(const RunReport& report);

}  // namespace iol::report
