#pragma once
// The formulas of money: what a device costs per hour, what a million output tokens cost, what is
// saved. Pure functions of numbers; where the numbers come from is price_file.h's and offer.h's.
#include <optional>

namespace iol::economics {

inline constexpr double kHoursPerYear = 8760;
inline constexpr double kHoursPerMonth = kHoursPerYear / 12;

/// The yearly payment for one unit of capital that is paid back over `years` (above 0) at a yearly
/// rate r >= 0: r (1 + r)^n / ((1 + r)^n - 1), and 1 / n for r = 0.
double capital_recovery_factor(double yearly_rate, double years);

/// What owning a device takes. Amounts in USD, per device.
struct OwnedCosts {
  double capex_usd = 0;
  double yearly_rate = 0;  // 0.08: 8 % a year
  double years = 1;        // over which the capital is paid back
  double power_kw = 0;     // the measured mean, or what is provisioned
  double pue = 1;          // power of the building / power of the devices
  double usd_per_kwh = 0;
  double colocation_usd_per_hour = 0;
  double operations_usd_per_hour = 0;
};

/// USD per device-hour, by part.
struct OwnedRate {
  double capital = 0;  // capex * CRF / 8760
  double energy = 0;   // kW * PUE * USD per kWh
  double colocation = 0;
  double operations = 0;
  [[nodiscard]] double running() const { return energy + colocation + operations; }
  [[nodiscard]] double total() const { return capital + running(); }
};

OwnedRate owned_usd_per_device_hour(const OwnedCosts& costs);

/// usd_per_device_hour * devices / (output_tok_s * 3600 / 1e6) / utilization. `output_tok_s` is of
/// all devices together, above 0; `utilization` is the share of paid hours that are spent at it.
double usd_per_million_output_tokens(double usd_per_device_hour, double devices,
                                     double output_tok_s, double utilization);

/// monthly_budget * 12 * (1 - cost_after / cost_before), in the budget's currency; negative when
/// the cost rises.
double yearly_saving(double monthly_budget, double cost_before, double cost_after);

/// Months until `spent_once` has come back at `monthly_gain`; nothing when it never does.
/// Undiscounted.
std::optional<double> payback_months(double spent_once, double monthly_gain);

}  // namespace iol::economics
