#pragma once
// Puts cost records into a results folder.
#include <filesystem>

#include "report/json_fields.h"

namespace iol::report {

/// Replaces the `cost` records of `folder`/records.jsonl by `records` (an array, without
/// record_type, schema_version and run_id, which are added), keeps every other line byte for byte,
/// and writes summary.json and the report anew. The file is replaced as a whole. Throws InputError
/// for records that can't be read (nothing is written then), ResourceError when writing fails.
void write_cost_records(const std::filesystem::path& folder, const Json& records);

}  // namespace iol::report
