#pragma once
// How far the numbers can be trusted: repetitions, failures, canaries, lengths, noise, and what was
// not measured and why.
#include "report/document.h"
#include "report/summary.h"

namespace iol::report {

/// Fills findings, not_measured and repeatability.
void add_confidence(RunSection& section, const RunReport& report);

}  // namespace iol::report
