#include "report/format.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>

namespace iol::report {
namespace {

std::string with_thousands(double value) {
  std::string digits = fmt::format("{:.0f}", std::abs(value));
  for (auto position = static_cast<std::ptrdiff_t>(digits.size()) - 3; position > 0;
       position -= 3) {
    digits.insert(static_cast<std::size_t>(position), 1, ',');
  }
  return (std::signbit(value) && digits != "0" ? "-" : "") + digits;
}

/// Decimals that leave three significant digits after rounding (9.996 is 10.0, not 10.00).
int decimals_for(double value) {
  const double size = std::abs(value);
  if (size == 0 || size >= 99.95) return 0;
  const int decimals = 2 - static_cast<int>(std::floor(std::log10(size)));
  const double scale = std::pow(10.0, decimals);
  const bool rounds_up =
      std::floor(std::log10(std::round(size * scale) / scale)) > std::floor(std::log10(size));
  return std::clamp(decimals - (rounds_up ? 1 : 0), 0, 12);
}

}  // namespace

std::string format_number(double value) {
  if (!std::isfinite(value)) return std::string(kAbsent);
  const int decimals = decimals_for(value);
  if (decimals == 0) return with_thousands(value);
  if (decimals > 6) return fmt::format("{:.2e}", value);
  return fmt::format("{:.{}f}", value, decimals);
}

std::string format_count(std::int64_t count) { return with_thousands(static_cast<double>(count)); }

std::string format_duration_ms(double milliseconds) {
  const double size = std::abs(milliseconds);
  if (size == 0) return "0\u00a0ms";
  if (size < 0.9995) return format_number(milliseconds * 1e3) + "\u00a0µs";
  if (size < 999.5) return format_number(milliseconds) + "\u00a0ms";
  if (size < 119'950) return format_number(milliseconds * 1e-3) + "\u00a0s";
  const auto seconds = static_cast<long long>(std::llround(milliseconds * 1e-3));
  return fmt::format("{}\u00a0min {}\u00a0s", with_thousands(static_cast<double>(seconds / 60)),
                     seconds % 60);
}

std::string format_bytes(double bytes) {
  constexpr std::array<const char*, 5> kUnits = {"B", "kB", "MB", "GB", "TB"};
  std::size_t unit = 0;
  while (std::abs(bytes) >= 999.5 && unit + 1 < kUnits.size()) {
    bytes /= 1000;
    ++unit;
  }
  return unit == 0 ? with_thousands(bytes) + "\u00a0B"
                   : format_number(bytes) + "\u00a0" + kUnits[unit];
}

std::string format_bandwidth(double bytes_per_s) { return format_bytes(bytes_per_s) + "/s"; }

std::string format_gain(double gain) { return format_number(gain) + "×"; }

std::string format_interval(const Interval& interval) {
  return format_number(interval.low) + "–" + format_number(interval.high);
}

std::string format_percent(double fraction) {
  const double percent = fraction * 100;
  const bool small = std::abs(percent) < 9.95 && percent != 0;
  return small ? fmt::format("{:.1f}\u00a0%", percent) : fmt::format("{:.0f}\u00a0%", percent);
}

std::string escape_html(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&quot;";
        break;
      case '\'':
        result += "&#39;";
        break;
      default:
        // Control characters have no place in a page; a NUL would even end it in some readers.
        result += static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t' ? ' ' : c;
    }
  }
  return result;
}

std::string escape_markdown(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x20) {
      result += ' ';
    } else if (c == '<') {
      result += "&lt;";
    } else if (c == '&') {
      result += "&amp;";
    } else {
      if (std::string_view("\\`*_[]|~#!").find(c) != std::string_view::npos) result += '\\';
      result += c;
    }
  }
  return result;
}

std::string humanize_field_name(std::string_view name) {
  // The value is shown with its unit (lookup.h); the name need not repeat it.
  for (const std::string_view unit : {"_bytes_per_s", "_bytes", "_ms", "_s"}) {
    if (!name.ends_with(unit)) continue;
    name.remove_suffix(unit.size());
    break;
  }
  constexpr std::array kAcronyms = {"cpu",  "gpu",  "isa", "kv",  "os",   "id",   "url", "slo",
                                    "nvml", "uuid", "ram", "rss", "cuda", "bf16", "rapl"};
  std::string result;
  std::string word;
  const auto flush = [&] {
    if (word.empty()) return;
    if (std::find(kAcronyms.begin(), kAcronyms.end(), word) != kAcronyms.end()) {
      std::transform(word.begin(), word.end(), word.begin(),
                     [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    } else if (result.empty()) {
      word[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(word[0])));
    }
    result += (result.empty() ? "" : " ") + word;
    word.clear();
  };
  for (const char c : name) {
    if (c == '_' || c == ' ') {
      flush();
    } else if (c == '.') {
      flush();
      result += " ·";
    } else {
      word += c;
    }
  }
  flush();
  return result;
}

}  // namespace iol::report
