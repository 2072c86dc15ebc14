#pragma once
// Traces of requests in the forms that are published and logged, recognized by the names of their
// columns, read one request at a time in bounded memory.
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace iol {

/// One request of a trace.
struct TraceRequest {
  std::optional<std::int64_t> t_ns;  // arrival: since 1970, or since the trace's own zero
  std::int64_t input_tokens = 0;
  std::int64_t output_tokens = 0;
  bool failed = false;  // no output came: the lengths count for nothing, the arrival does
  /// Prefix blocks of kTraceBlockTokens tokens, equal for equal text so far; valid until the next
  /// request is read.
  std::span<const std::int64_t> block_ids;
};

inline constexpr std::int64_t kTraceBlockTokens = 512;

enum class TraceForm { kAzure, kBurstGpt, kMooncake, kShareGpt, kRequestLog };

/// "Azure LLM inference (CSV)".
std::string_view trace_form_name(TraceForm form);

struct TraceOptions {
  /// Of texts without token counts (ShareGPT): a length is its bytes divided by this, rounded up.
  double bytes_per_token = 4;
  /// Later arrivals are in the future, and refused; 0: now and a day.
  std::int64_t latest_ns = 0;
};

/// Every refusal is an InputError of one line: file, line, what is wrong, what to do.
class TraceReader {
 public:
  virtual ~TraceReader() = default;
  /// False at the end. Refuses what isn't in the trace's form, lengths that aren't whole numbers
  /// from 0 to 2^30, times that go backwards or lie in the future.
  bool next(TraceRequest& request);

  [[nodiscard]] virtual TraceForm form() const = 0;
  /// Whether lengths are estimated from the size of texts.
  [[nodiscard]] virtual bool lengths_are_estimated() const { return false; }
  /// Entries that are left out because they are no requests (conversations of fewer than two
  /// turns).
  [[nodiscard]] virtual std::int64_t skipped() const { return 0; }

 protected:
  explicit TraceReader(const TraceOptions& options);
  virtual bool read(TraceRequest& request) = 0;
  [[noreturn]] virtual void fail(std::string_view problem) const = 0;

 private:
  std::int64_t latest_ns_;
  std::optional<std::int64_t> last_t_ns_;
};

/// Opens a trace, plain or gzip. Throws InputError for an empty file and a form that is unknown,
/// with the names that were found and those that are known.
std::unique_ptr<TraceReader> open_trace(const std::filesystem::path& path,
                                        const TraceOptions& options);

}  // namespace iol
