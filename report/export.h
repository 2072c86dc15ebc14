#pragma once
// Records in the forms of other tools.
#include <filesystem>
#include <string_view>
#include <vector>

#include "report/summary.h"

namespace iol::report {

/// Requests and steps as a trace in the Trace Event Format ("JSON Object Format"), which Perfetto
/// and chrome://tracing open: a process per subject; its requests as nested spans, first token
/// marked; its steps as slices, and what they had under way as counters. Times in microseconds from
/// the first event. Throws InputError when there is nothing to draw.
Json perfetto_trace(const Records& records);

/// One subject under one load in the form of vLLM's `vllm bench serve --save-result`.
Json vllm_result(const RunReport& report, const Summary& summary);

/// Measured requests as AIPerf's `profile_export.jsonl` has them: one object each, `metadata`,
/// `metrics` {name: {`value`, `unit`}}, `error`.
std::vector<Json> aiperf_requests(const Records& records);

/// Writes `form` ("perfetto", "vllm", "aiperf") into `folder`; returns the files: perfetto.json;
/// vllm-SUBJECT-LOAD.json; profile_export.jsonl. Throws InputError for another form.
std::vector<std::filesystem::path> write_export(std::string_view form,
                                                const std::filesystem::path& results_folder,
                                                const std::filesystem::path& folder);

}  // namespace iol::report
