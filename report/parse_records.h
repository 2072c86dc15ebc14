#pragma once
// A record of each type from the fields of its line (records.h); a field that is missing or of the
// wrong type throws InputError that says where.
#include <string>

#include "report/json_fields.h"
#include "report/records.h"

namespace iol::report {

EnvironmentRecord parse_environment(const JsonFields& fields);
SubjectRecord parse_subject(const JsonFields& fields);
RequestRecord parse_request(const JsonFields& fields);
CanaryRecord parse_canary(const JsonFields& fields);
RunRecord parse_run(const JsonFields& fields);
/// `where`: the file and line.
SweepRecord parse_sweep(const JsonFields& fields, const std::string& where);
StepRecord parse_step(const JsonFields& fields);
/// Neither a warm-up nor a probe.
bool is_measured(const JsonFields& fields);
DeviceSample parse_device_sample(const JsonFields& fields);
QualityRecord parse_quality(const JsonFields& fields);

}  // namespace iol::report
