#pragma once
// Amounts of money and shares for people.
#include <string>

namespace iol::economics {

/// "276,000", "1,234", "12.3", "0.0451": at least three digits, thousands separated.
std::string format_amount(double value);
/// "38.5 %".
std::string format_share(double fraction);
/// "1.4 years", "7.5 months".
std::string format_months(double months);

}  // namespace iol::economics
