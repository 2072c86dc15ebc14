#include "economics/cost.h"

#include <cmath>

#include "base/error.h"

namespace iol::economics {

double capital_recovery_factor(double yearly_rate, double years) {
  IOL_CHECK(yearly_rate >= 0 && years > 0);
  if (yearly_rate == 0) return 1 / years;
  // r / (1 - (1 + r)^-n), which is the same and stays exact for a rate near 0.
  return yearly_rate / -std::expm1(-years * std::log1p(yearly_rate));
}

OwnedRate owned_usd_per_device_hour(const OwnedCosts& costs) {
  OwnedRate rate;
  rate.capital =
      costs.capex_usd * capital_recovery_factor(costs.yearly_rate, costs.years) / kHoursPerYear;
  rate.energy = costs.power_kw * costs.pue * costs.usd_per_kwh;
  rate.colocation = costs.colocation_usd_per_hour;
  rate.operations = costs.operations_usd_per_hour;
  return rate;
}

double usd_per_million_output_tokens(double usd_per_device_hour, double devices,
                                     double output_tok_s, double utilization) {
  IOL_CHECK(output_tok_s > 0 && utilization > 0);
  const double million_tokens_per_hour = output_tok_s * 3600 / 1e6;
  return usd_per_device_hour * devices / million_tokens_per_hour / utilization;
}

double yearly_saving(double monthly_budget, double cost_before, double cost_after) {
  IOL_CHECK(cost_before > 0);
  return monthly_budget * 12 * (1 - cost_after / cost_before);
}

std::optional<double> payback_months(double spent_once, double monthly_gain) {
  if (monthly_gain <= 0) return std::nullopt;
  return spent_once / monthly_gain;
}

}  // namespace iol::economics
