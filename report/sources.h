#pragma once
// Which records each figure of a page is made of.
#include <string>

#include "report/document.h"
#include "report/summary.h"

namespace iol::report {

/// The id of the row of sources_table() for this subject under this load, the same on every page.
std::string source_id(const RunReport& report, const Summary& summary);

/// One row per subject and load: how many requests of how many repetitions, on which lines of
/// records.jsonl they stand, and the jq filter that picks them out.
Table sources_table(const RunReport& report);

}  // namespace iol::report
