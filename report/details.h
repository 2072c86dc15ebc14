#pragma once
// The tables behind the headline: latency, throughput, resources, quality, every comparison,
// settings, environment and glossary.
#include "report/document.h"
#include "report/summary.h"

namespace iol::report {

/// Fills details, comparisons, settings, environment and command.
void add_details(RunSection& section, const RunReport& report);

/// What each metric means and how it is computed.
Table glossary();

}  // namespace iol::report
