#include "workload/trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "base/error.h"
#include "workload/trace_forms.h"

namespace iol {
namespace {

constexpr std::int64_t kDayNs = 86'400LL * 1'000'000'000;

std::int64_t now_since_1970_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace

std::string_view trace_form_name(TraceForm form) {
  switch (form) {
    case TraceForm::kAzure:
      return "Azure LLM inference (CSV)";
    case TraceForm::kBurstGpt:
      return "BurstGPT (CSV)";
    case TraceForm::kMooncake:
      return "Mooncake (JSON lines)";
    case TraceForm::kShareGpt:
      return "ShareGPT conversations (JSON)";
    case TraceForm::kRequestLog:
      return "request log (JSON lines)";
  }
  return "unknown";
}

std::string shown_in_message(std::string_view text) {
  std::string result(text.substr(0, 60));
  std::replace_if(
      result.begin(), result.end(), [](unsigned char c) { return c < 0x20 || c >= 0x7f; }, '?');
  if (text.size() > 60) result += "...";
  return result;
}

TraceReader::TraceReader(const TraceOptions& options)
    : latest_ns_(options.latest_ns != 0 ? options.latest_ns : now_since_1970_ns() + kDayNs) {}

bool TraceReader::next(TraceRequest& request) {
  request = {};
  if (!read(request)) return false;
  if (!request.t_ns) return true;
  if (*request.t_ns > latest_ns_) {
    fail("its time is in the future; check the column and its unit");
  }
  if (last_t_ns_ && *request.t_ns < *last_t_ns_) {
    fail(
        "its time is before the one above; sort the trace by time, or split it where two were "
        "joined");
  }
  last_t_ns_ = request.t_ns;
  return true;
}

std::unique_ptr<TraceReader> open_trace(const std::filesystem::path& path,
                                        const TraceOptions& options) {
  TextChunks text{ByteSource(path)};
  const auto first = text.first_character();
  if (!first) throw_input_error("{}: empty; there is no request in it", path.string());
  if (*first == '[') return open_conversations(std::move(text), options);
  if (*first == '{') return open_json_lines_trace(std::move(text), options);
  return open_csv_trace(std::move(text), options);
}

}  // namespace iol
