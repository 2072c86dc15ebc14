#pragma once
// Numbers for people: three significant digits, thousands separated by commas, and a unit behind a
// no-break space.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "report/statistics.h"

namespace iol::report {

/// What stands for a number that wasn't measured.
inline constexpr std::string_view kAbsent = "–";

/// "0.00312", "0.451", "12.3", "628", "12,345": three digits, more only before the decimal point.
std::string format_number(double value);
/// A whole number: "5", "2,910".
std::string format_count(std::int64_t count);
/// "451 µs", "12.3 ms", "1.24 s", "3 min 20 s".
std::string format_duration_ms(double milliseconds);
/// Decimal units: "34.2 MB", "1.10 GB".
std::string format_bytes(double bytes);
/// "68.1 GB/s".
std::string format_bandwidth(double bytes_per_s);
/// "3.15×", "12.4×".
std::string format_gain(double gain);
/// "3.02–3.28".
std::string format_interval(const Interval& interval);
/// "87 %", "3.4 %" below 10.
std::string format_percent(double fraction);

/// `format(*value)`, or the sign for absent.
template <class Format>
std::string format_or_absent(const std::optional<double>& value, Format&& format) {
  return value ? format(*value) : std::string(kAbsent);
}

/// Text inside an HTML element or a quoted attribute.
std::string escape_html(std::string_view text);
/// Text inside a Markdown paragraph or table cell: one line, nothing of it is markup.
std::string escape_markdown(std::string_view text);
/// "cpu_model" -> "CPU model": the name of a record's field as a person would write it.
std::string humanize_field_name(std::string_view name);

}  // namespace iol::report
