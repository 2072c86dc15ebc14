#pragma once
// An audit as a page of its own, in the form of the reports.
#include <string>
#include <vector>

#include "report/document.h"
#include "workload/advice.h"

namespace iol::cli {

/// `command` is how the page is made again.
report::Document audit_page(const Workload& workload, const std::vector<Advice>& advice,
                            const std::string& command);

}  // namespace iol::cli
