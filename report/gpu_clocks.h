#pragma once
#include <vector>

#include "report/document.h"
#include "report/summary.h"

namespace iol::report {

/// What slowed GPUs down while subjects were measured, and at which clocks they ran: of the samples
/// inside each subject's runs. Nothing without a GPU's samples.
void add_gpu_clocks(std::vector<Finding>& findings, const RunReport& report);

}  // namespace iol::report
