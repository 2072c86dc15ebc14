#pragma once
// The readers behind open_trace(): one per way of writing a trace down.
#include <memory>

#include "workload/text_chunks.h"
#include "workload/trace.h"

namespace iol {

/// CSV with a header: Azure and BurstGPT, told apart by its names.
std::unique_ptr<TraceReader> open_csv_trace(TextChunks text, const TraceOptions& options);
/// One JSON object a line: Mooncake and request logs, told apart by the first one's names.
std::unique_ptr<TraceReader> open_json_lines_trace(TextChunks text, const TraceOptions& options);
/// One JSON array of conversations.
std::unique_ptr<TraceReader> open_conversations(TextChunks text, const TraceOptions& options);

/// Longer than any model's context.
inline constexpr std::int64_t kLongestRequest = 1 << 30;

/// A name or value as it may be shown in a message of one line.
std::string shown_in_message(std::string_view text);

}  // namespace iol
