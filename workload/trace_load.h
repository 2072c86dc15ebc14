#pragma once
// The requests of a trace as a load: when they are due, how long they are, what they share.
#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "workload/prompts.h"

namespace iol {

struct TraceEntry {
  std::int64_t due_ns = 0;  // after the first request of the trace
  std::int64_t input_tokens = 1;
  std::int64_t output_tokens = 1;
  std::vector<std::int64_t> block_ids;  // of kTraceBlockTokens tokens each; empty: nothing shared
};

struct TraceLoad {
  std::filesystem::path path;
  std::vector<TraceEntry> entries;
  bool has_times = false;
  std::int64_t failed = 0;       // entries without an answer, left out
  std::int64_t too_long = 0;     // entries longer than the context, left out
  bool shares_prefixes = false;  // some block id occurs in two entries
};

/// Reads entries from the front of a trace until `max_requests` fit into `max_context` positions.
/// Throws InputError for what the trace reader refuses, and when no entry fits.
TraceLoad read_trace_load(const std::filesystem::path& path, std::int64_t max_requests,
                          std::int64_t max_context);

struct ReplayOptions {
  std::int64_t count = 0;  // of requests, from the trace's front; beyond its end it begins anew
  double speed = 1;
  std::int64_t first_id = 0;
  std::uint64_t seed = 0;
};

/// The entries as requests, the first due at 0 and the time between them divided by `speed`. Equal
/// block ids get equal tokens within one call; another `seed` or `first_id` gives other text, so
/// that no repetition profits from the one before.
std::vector<WorkloadRequest> replay_requests(const TraceLoad& trace, const PromptSource& source,
                                             const ReplayOptions& options);

}  // namespace iol
