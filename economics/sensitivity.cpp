#include "economics/sensitivity.h"

#include <algorithm>
#include <cmath>
#include <functional>

namespace iol::economics {
namespace {

/// All that a cost per million tokens is computed from.
struct Inputs {
  bool owned = false;
  double usd_per_device_hour = 0;  // when not owned
  OwnedCosts costs;                // when owned
  double utilization = 1;
  double devices = 1;
  double output_tok_s = 1;

  [[nodiscard]] double usd_per_million() const {
    const double rate = owned ? owned_usd_per_device_hour(costs).total() : usd_per_device_hour;
    return usd_per_million_output_tokens(rate, devices, output_tok_s, utilization);
  }
};

struct Knob {
  const char* what;
  std::function<double&(Inputs&)> number;
};

std::vector<Knob> knobs_of(bool owned) {
  std::vector<Knob> knobs = {
      {"throughput, tok/s", [](Inputs& in) -> double& { return in.output_tok_s; }},
      {"utilization", [](Inputs& in) -> double& { return in.utilization; }}};
  if (!owned) {
    knobs.push_back(
        {"rental, USD/device-hour", [](Inputs& in) -> double& { return in.usd_per_device_hour; }});
    return knobs;
  }
  const std::vector<Knob> of_owning = {
      {"purchase, USD/device", [](Inputs& in) -> double& { return in.costs.capex_usd; }},
      {"years of use", [](Inputs& in) -> double& { return in.costs.years; }},
      {"rate of capital, yearly", [](Inputs& in) -> double& { return in.costs.yearly_rate; }},
      {"power, kW/device", [](Inputs& in) -> double& { return in.costs.power_kw; }},
      {"electricity, USD/kWh", [](Inputs& in) -> double& { return in.costs.usd_per_kwh; }},
      {"colocation, USD/device-hour",
       [](Inputs& in) -> double& { return in.costs.colocation_usd_per_hour; }},
      {"operations, USD/device-hour",
       [](Inputs& in) -> double& { return in.costs.operations_usd_per_hour; }}};
  knobs.insert(knobs.end(), of_owning.begin(), of_owning.end());
  return knobs;
}

}  // namespace

double Sensitivity::swing() const { return std::abs(usd_if_higher - usd_if_lower); }

std::vector<Sensitivity> sensitivities(const Offer& offer, const Assumptions& assumptions,
                                       double output_tok_s) {
  const Inputs inputs{offer.owned(),           offer.usd_per_device_hour, offer.costs,
                      assumptions.utilization, assumptions.devices,       output_tok_s};
  std::vector<Sensitivity> result;
  for (const Knob& knob : knobs_of(offer.owned())) {
    const auto moved = [&](double factor) {
      Inputs other = inputs;
      knob.number(other) *= factor;
      other.utilization = std::min(other.utilization, 1.0);
      return other.usd_per_million();
    };
    Inputs as_is = inputs;
    const double value = knob.number(as_is);
    if (value == 0) continue;
    result.push_back(
        {knob.what, value, moved(1 - kSensitivityShare), moved(1 + kSensitivityShare)});
  }
  std::stable_sort(result.begin(), result.end(), [](const Sensitivity& a, const Sensitivity& b) {
    return a.swing() > b.swing();
  });
  return result;
}

}  // namespace iol::economics
