#pragma once
// From the numbers of one or several runs to the document that the writers render.
#include <vector>

#include "report/document.h"
#include "report/summary.h"

namespace iol::report {

/// `reports` not empty, each with at least one summary.
Document build_document(const std::vector<RunReport>& reports);

}  // namespace iol::report
