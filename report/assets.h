#pragma once
// Files of report/assets/ and Chart.js, compiled into the program (cmake/iol_report_assets.cmake).
#include <string_view>

namespace iol::report {

extern const std::string_view kPageTemplate;  // page.html
extern const std::string_view kPageStyle;     // report.css
extern const std::string_view kPageScript;    // report.js
extern const std::string_view kChartLibrary;  // Chart.js, with its licence in its first lines

}  // namespace iol::report
