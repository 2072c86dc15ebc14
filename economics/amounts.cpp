#include "economics/amounts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace iol::economics {

std::string format_amount(double value) {
  const double size = std::abs(value);
  if (size != 0 && size < 99.95) {
    const int decimals = 2 - static_cast<int>(std::floor(std::log10(size)));
    return fmt::format("{:.{}f}", value, std::clamp(decimals, 1, 8));
  }
  std::string digits = fmt::format("{:.0f}", size);
  for (auto place = static_cast<std::ptrdiff_t>(digits.size()) - 3; place > 0; place -= 3)
    digits.insert(static_cast<std::size_t>(place), 1, ',');
  return (value < 0 && digits != "0" ? "-" : "") + digits;
}

std::string format_share(double fraction) { return fmt::format("{:.1f} %", fraction * 100); }

std::string format_months(double months) {
  return months < 24 ? fmt::format("{:.1f} months", months)
                     : fmt::format("{:.1f} years", months / 12);
}

}  // namespace iol::economics
