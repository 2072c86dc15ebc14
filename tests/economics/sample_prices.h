#pragma once
// A price file small enough to count by hand; the numbers are made up and serve tests only.
#include <string>

#include "economics/price_file.h"

namespace iol::economics::sample {

inline constexpr Date kToday{2026, 7, 1};

inline std::string price(const std::string& value, const std::string& unit) {
  return "{ value = " + value + ", unit = \"" + unit +
         "\", date = 2026-01-31, source = \"a test\" }";
}

inline std::string text() {
  return "schema_version = 1\n"
         "[[currency]]\ncode = \"EUR\"\nrate = " +
         price("1.25", "USD/EUR") +
         "\n[[region]]\nname = \"here\"\nlabel = \"Here\"\nelectricity = " +
         price("0.10", "EUR/kWh") + "\ncolocation = " + price("146", "USD/kW-month") +
         "\npue = " + price("1.5", "ratio") +
         "\n[[region]]\nname = \"there\"\nlabel = \"There\"\nelectricity = " +
         price("0.20", "USD/kWh") + "\ncolocation = " + price("73", "USD/kW-month") +
         "\npue = " + price("1.2", "ratio") +
         "\n[[device]]\nname = \"h100\"\nlabel = \"H100\"\ncapex = " +
         price("35040", "USD/device") + "\npower = " + price("1.0", "kW/device") +
         "\nsurveyed_low = " + price("1.0", "USD/device-hour") +
         "\nsurveyed_high = " + price("2.0", "USD/device-hour") +
         "\n[[rented]]\ndevice = \"h100\"\nname = \"on-demand\"\nlabel = \"on demand\"\nprice = " +
         price("4", "USD/device-hour") +
         "\n[[rented]]\ndevice = \"h100\"\nname = \"market\"\nlabel = \"market\"\nprice = " +
         price("2", "USD/device-hour") + "\n";
}

inline PriceFile prices() { return parse_price_file(text(), "sample.toml", kToday); }

/// `text` with the first `from` replaced by `to`; the test is wrong when there is none.
inline std::string edited(std::string text, const std::string& from, const std::string& to) {
  const auto place = text.find(from);
  if (place == std::string::npos) return "the test replaces what isn't there: " + from;
  return text.replace(place, from.size(), to);
}

}  // namespace iol::economics::sample
