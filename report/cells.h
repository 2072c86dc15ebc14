#pragma once
// The cells that most tables are made of.
#include <string>

#include "report/document.h"
#include "report/summary.h"

namespace iol::report {

Cell text_cell(std::string text, std::string note = "");

/// A subject by its label, in its colour.
Cell subject_cell(const RunReport& report, const std::string& subject, std::string note = "");

}  // namespace iol::report
