// Azure LLM inference 2023/2024 and BurstGPT: CSV with a header.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "workload/trace_forms.h"
#include "workload/trace_time.h"

namespace iol {
namespace {

constexpr double kNsPerS = 1e9;

struct Columns {
  std::size_t time = 0;
  std::size_t input = 0;
  std::size_t output = 0;
};

/// Without blanks and quotes around it.
std::string_view trimmed(std::string_view field) {
  const auto is_edge = [](char c) { return c == ' ' || c == '\t' || c == '"'; };
  while (!field.empty() && is_edge(field.front())) field.remove_prefix(1);
  while (!field.empty() && is_edge(field.back())) field.remove_suffix(1);
  return field;
}

/// Fields of a line; commas inside quotes separate nothing.
void split(std::string_view line, std::vector<std::string_view>& fields) {
  fields.clear();
  std::size_t start = 0;
  bool quoted = false;
  for (std::size_t i = 0; i <= line.size(); ++i) {
    if (i < line.size() && line[i] == '"') quoted = !quoted;
    if (i < line.size() && (line[i] != ',' || quoted)) continue;
    fields.push_back(trimmed(line.substr(start, i - start)));
    start = i + 1;
  }
}

class CsvTrace : public TraceReader {
 public:
  CsvTrace(TextChunks text, const TraceOptions& options, TraceForm form, const Columns& columns,
           std::size_t num_columns)
      : TraceReader(options),
        text_(std::move(text)),
        form_(form),
        columns_(columns),
        num_columns_(num_columns) {}

  TraceForm form() const override { return form_; }

 protected:
  bool read(TraceRequest& request) override {
    while (true) {
      const auto line = text_.next_line();
      if (!line) return false;
      if (trimmed(*line).empty()) continue;
      split(*line, fields_);
      break;
    }
    if (fields_.size() != num_columns_) {
      fail(fmt::format("{} fields where the header has {}; the line is broken or of another trace",
                       fields_.size(), num_columns_));
    }
    request.t_ns = time(fields_[columns_.time]);
    request.input_tokens = length(fields_[columns_.input]);
    request.output_tokens = length(fields_[columns_.output]);
    request.failed = request.output_tokens == 0;
    return true;
  }

  [[noreturn]] void fail(std::string_view problem) const override {
    throw_input_error("{}:{}: {}", text_.path(), text_.line(), problem);
  }

 private:
  std::int64_t length(std::string_view field) const {
    double value = 0;
    const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), value);
    const bool is_number = error == std::errc() && end == field.data() + field.size();
    if (!is_number || !(value >= 0) || value > static_cast<double>(kLongestRequest) ||
        std::floor(value) != value) {
      fail(fmt::format("'{}' is no number of tokens (a whole number, 0 to 2^30)",
                       shown_in_message(field)));
    }
    return static_cast<std::int64_t>(value);
  }

  std::int64_t time(std::string_view field) const {
    if (form_ == TraceForm::kAzure) {
      const auto t_ns = parse_time_ns(field);
      if (!t_ns) {
        fail(fmt::format("'{}' is no time of the form 2023-11-16 18:15:46.68",
                         shown_in_message(field)));
      }
      return *t_ns;
    }
    double seconds = 0;
    const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), seconds);
    const bool is_number = error == std::errc() && end == field.data() + field.size();
    if (!is_number || !std::isfinite(seconds) || seconds < 0 || seconds > 4e9) {
      fail(fmt::format("'{}' is no time in seconds", shown_in_message(field)));
    }
    return static_cast<std::int64_t>(std::llround(seconds * kNsPerS));
  }

  TextChunks text_;
  TraceForm form_;
  Columns columns_;
  std::size_t num_columns_;
  std::vector<std::string_view> fields_;
};

std::optional<Columns> find_columns(const std::vector<std::string_view>& header,
                                    const std::array<std::string_view, 3>& names) {
  std::array<std::size_t, 3> places{};
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto found = std::find(header.begin(), header.end(), names[i]);
    if (found == header.end()) return std::nullopt;
    places[i] = static_cast<std::size_t>(found - header.begin());
  }
  return Columns{places[0], places[1], places[2]};
}

}  // namespace

std::unique_ptr<TraceReader> open_csv_trace(TextChunks text, const TraceOptions& options) {
  auto line = text.next_line();
  while (line && trimmed(*line).empty()) line = text.next_line();
  std::vector<std::string_view> header;
  split(line.value_or(""), header);
  const std::size_t num_columns = header.size();
  if (const auto azure = find_columns(header, {"TIMESTAMP", "ContextTokens", "GeneratedTokens"})) {
    return std::make_unique<CsvTrace>(std::move(text), options, TraceForm::kAzure, *azure,
                                      num_columns);
  }
  if (const auto burst = find_columns(header, {"Timestamp", "Request tokens", "Response tokens"})) {
    return std::make_unique<CsvTrace>(std::move(text), options, TraceForm::kBurstGpt, *burst,
                                      num_columns);
  }
  throw_input_error(
      "{}:{}: no known trace: begins with '{}'; known are CSV with TIMESTAMP,ContextTokens,"
      "GeneratedTokens (Azure) or Timestamp, Request tokens, Response tokens (BurstGPT), JSON "
      "lines "
      "with timestamp, input_length, output_length (Mooncake) or timestamp, request, response "
      "(request log), and a JSON array of conversations (ShareGPT)",
      text.path(), text.line(), shown_in_message(line.value_or("")));
}

}  // namespace iol
