// Mooncake, and logs of OpenAI-style requests: one JSON object a line, through simdjson.
#include <fmt/format.h>
#include <simdjson.h>

#include <cmath>
#include <vector>

#include "base/error.h"
#include "workload/mooncake_line.h"
#include "workload/trace_forms.h"
#include "workload/trace_time.h"

namespace iol {
namespace {

namespace dom = simdjson::dom;

bool is_blank(std::string_view line) {
  return line.find_first_not_of(" \t\r") == std::string_view::npos;
}

/// What both forms share: the parser, and the line that is being read.
class JsonLinesTrace : public TraceReader {
 protected:
  JsonLinesTrace(TextChunks text, const TraceOptions& options, std::string first_line)
      : TraceReader(options),
        text_(std::move(text)),
        first_line_(std::move(first_line)),
        first_line_size_(first_line_.size()) {
    first_line_.resize(first_line_size_ + TextChunks::kPadding);
  }

  /// A line of the form's usual shape, faster than through a parser; false for any other.
  virtual bool read_usual(std::string_view /*line*/, TraceRequest& /*request*/) { return false; }
  virtual void read_object(const dom::object& object, TraceRequest& request) = 0;

  bool read(TraceRequest& request) override {
    std::string_view line;
    if (!first_line_is_read_) {
      first_line_is_read_ = true;
      line = std::string_view(first_line_).substr(0, first_line_size_);
    } else {
      do {
        const auto next = text_.next_line();
        if (!next) return false;
        line = *next;
      } while (is_blank(line));
    }
    if (read_usual(line, request)) return true;
    dom::object object;
    const auto error =
        parser_.parse(line.data(), line.size(), /*realloc_if_needed=*/false).get(object);
    if (error != simdjson::SUCCESS) {
      fail("not one JSON object; the line is cut off or damaged, or has NaN, which JSON has not");
    }
    read_object(object, request);
    return true;
  }

  [[noreturn]] void fail(std::string_view problem) const override {
    throw_input_error("{}:{}: {}", text_.path(), text_.line(), problem);
  }

  /// A whole number of tokens; anything else fails.
  std::int64_t length(const dom::element& value, std::string_view name) const {
    double number = 0;
    if (value.get_double().get(number) != simdjson::SUCCESS || !(number >= 0) ||
        number > static_cast<double>(kLongestRequest) || std::floor(number) != number) {
      fail(fmt::format("'{}' is no number of tokens (a whole number, 0 to 2^30)", name));
    }
    return static_cast<std::int64_t>(number);
  }

 private:
  TextChunks text_;
  std::string first_line_;  // the one that told the form, with padding behind it
  std::size_t first_line_size_;
  bool first_line_is_read_ = false;
  dom::parser parser_;
};

constexpr std::int64_t kLatestMs = 4'000'000'000'000;

class MooncakeTrace final : public JsonLinesTrace {
 public:
  MooncakeTrace(TextChunks text, const TraceOptions& options, std::string first_line)
      : JsonLinesTrace(std::move(text), options, std::move(first_line)) {}

  TraceForm form() const override { return TraceForm::kMooncake; }

 protected:
  bool read_usual(std::string_view line, TraceRequest& request) override {
    MooncakeLine values;
    if (!read_mooncake_line(line, values, block_ids_)) return false;
    const bool is_sound = values.timestamp_ms <= kLatestMs &&
                          values.input_tokens <= kLongestRequest &&
                          values.output_tokens <= kLongestRequest;
    if (!is_sound) return false;  // refused below, with its reason
    request.t_ns = values.timestamp_ms * 1'000'000;
    request.input_tokens = values.input_tokens;
    request.output_tokens = values.output_tokens;
    request.failed = request.output_tokens == 0;
    request.block_ids = block_ids_;
    return true;
  }

  void read_object(const dom::object& object, TraceRequest& request) override {
    bool has_input = false;
    bool has_output = false;
    block_ids_.clear();
    for (const auto& [key, value] : object) {
      if (key == "timestamp") {
        request.t_ns = milliseconds(value);
      } else if (key == "input_length") {
        request.input_tokens = length(value, "input_length");
        has_input = true;
      } else if (key == "output_length") {
        request.output_tokens = length(value, "output_length");
        has_output = true;
      } else if (key == "hash_ids") {
        read_block_ids(value);
      }
    }
    if (!request.t_ns || !has_input || !has_output) {
      fail(
          "needs timestamp, input_length and output_length, as the first line has; it is cut off, "
          "or of another trace");
    }
    request.failed = request.output_tokens == 0;
    request.block_ids = block_ids_;
  }

 private:
  std::int64_t milliseconds(const dom::element& value) const {
    double number = 0;
    if (value.get_double().get(number) != simdjson::SUCCESS || !(number >= 0) ||
        number > static_cast<double>(kLatestMs)) {
      fail("'timestamp' is no time in milliseconds");
    }
    return static_cast<std::int64_t>(std::llround(number * 1e6));
  }

  void read_block_ids(const dom::element& value) {
    dom::array ids;
    if (value.get_array().get(ids) != simdjson::SUCCESS) fail("'hash_ids' is no array");
    for (const dom::element id : ids) {
      std::int64_t number = 0;
      if (id.get_int64().get(number) != simdjson::SUCCESS) {
        fail("'hash_ids' holds something else than whole numbers");
      }
      block_ids_.push_back(number);
    }
  }

  std::vector<std::int64_t> block_ids_;
};

class RequestLogTrace final : public JsonLinesTrace {
 public:
  RequestLogTrace(TextChunks text, const TraceOptions& options, std::string first_line)
      : JsonLinesTrace(std::move(text), options, std::move(first_line)) {}

  TraceForm form() const override { return TraceForm::kRequestLog; }

 protected:
  void read_object(const dom::object& object, TraceRequest& request) override {
    bool has_response = false;
    for (const auto& [key, value] : object) {
      if (key == "timestamp") {
        request.t_ns = time(value);
      } else if (key == "response") {
        has_response = true;
        read_response(value, request);
      }
    }
    if (!request.t_ns) fail("no 'timestamp'; the line is cut off, or of another trace");
    if (!has_response) fail("no 'response'; the line is cut off, or of another trace");
    request.failed |= request.output_tokens == 0;
  }

 private:
  /// A number in seconds, milliseconds, microseconds or nanoseconds since 1970, told by its size,
  /// or a text as 2023-11-16T18:15:46Z.
  std::int64_t time(const dom::element& value) const {
    std::string_view text;
    if (value.get_string().get(text) == simdjson::SUCCESS) {
      const auto t_ns = parse_time_ns(text);
      if (!t_ns) {
        fail(fmt::format("'{}' is no time of the form 2023-11-16T18:15:46Z",
                         shown_in_message(text)));
      }
      return *t_ns;
    }
    double number = 0;
    if (value.get_double().get(number) != simdjson::SUCCESS || !(number >= 0) || number > 7e18) {
      fail("'timestamp' is neither a time since 1970 nor a text");
    }
    const double scale = number > 1e17 ? 1 : number > 1e14 ? 1e3 : number > 1e11 ? 1e6 : 1e9;
    // Whole and fraction apart: together they are more digits than a double has.
    const double whole = std::floor(number);
    if (whole * scale > 9e18) fail("its time is in the future; check the column and its unit");
    return static_cast<std::int64_t>(whole) * static_cast<std::int64_t>(scale) +
           std::llround((number - whole) * scale);
  }

  void read_response(const dom::element& value, TraceRequest& request) const {
    dom::object response;
    if (value.get_object().get(response) != simdjson::SUCCESS) {
      request.failed = true;  // null or a text: no answer came
      return;
    }
    bool has_usage = false;
    for (const auto& [key, value] : response) {
      if (key == "usage") {
        has_usage = read_usage(value, request);
      } else if (key == "error") {
        request.failed |= !value.is_null();
      }
    }
    if (!has_usage && !request.failed) {
      fail("no response.usage with prompt_tokens and completion_tokens; lengths come from there");
    }
  }

  bool read_usage(const dom::element& value, TraceRequest& request) const {
    dom::object usage;
    if (value.get_object().get(usage) != simdjson::SUCCESS) return false;
    bool has_input = false;
    bool has_output = false;
    for (const auto& [key, value] : usage) {
      if (key == "prompt_tokens") {
        request.input_tokens = length(value, "prompt_tokens");
        has_input = true;
      } else if (key == "completion_tokens") {
        request.output_tokens = length(value, "completion_tokens");
        has_output = true;
      }
    }
    return has_input && has_output;
  }
};

}  // namespace

std::unique_ptr<TraceReader> open_json_lines_trace(TextChunks text, const TraceOptions& options) {
  auto line = text.next_line();
  while (line && is_blank(*line)) line = text.next_line();
  std::string first(line.value_or(""));
  simdjson::dom::parser parser;
  simdjson::dom::object object;
  if (parser.parse(first).get(object) != simdjson::SUCCESS) {
    throw_input_error("{}:{}: not a JSON object; the line is cut off or damaged", text.path(),
                      text.line());
  }
  const auto has = [&](const char* name) {
    simdjson::dom::element ignored;
    return object[name].get(ignored) == simdjson::SUCCESS;
  };
  if (has("input_length") && has("output_length") && has("timestamp")) {
    return std::make_unique<MooncakeTrace>(std::move(text), options, std::move(first));
  }
  if (has("response") && has("timestamp")) {
    return std::make_unique<RequestLogTrace>(std::move(text), options, std::move(first));
  }
  std::string names;
  for (const auto& field : object)
    names += (names.empty() ? "" : ", ") + shown_in_message(field.key);
  throw_input_error(
      "{}:{}: no known trace: has {}; known are timestamp, input_length, output_length (Mooncake) "
      "and timestamp, request, response (request log)",
      text.path(), text.line(), names.empty() ? "no names" : names.substr(0, 200));
}

}  // namespace iol
