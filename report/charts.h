#pragma once
// The data behind the charts of the HTML page; assets/report.js draws them with Chart.js.
#include <vector>

#include "report/document.h"
#include "report/summary.h"

namespace iol::report {

/// Charts for which the run has data, in the order of the page. `prefix` makes their ids unique in
/// a page of several runs. The data is {`type` (line, bars, cdf, time), `x_title`, `y_title`,
/// `categories` (line, bars), `series`: [{`label`, `subject` (index), `values` | `points`}]}.
std::vector<Chart> build_charts(const RunReport& report, const std::string& prefix);

}  // namespace iol::report
