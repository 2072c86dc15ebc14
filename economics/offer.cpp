#include "economics/offer.h"

namespace iol::economics {
namespace {

Offer rented_offer(const RentedPrice& rented) {
  Offer offer;
  offer.kind = OfferKind::kRented;
  offer.name = rented.name;
  offer.label = rented.label;
  offer.usd_per_device_hour = rented.price.usd;
  offer.prices = {{"rental, " + rented.label, rented.price}};
  return offer;
}

Offer owned_offer(OfferKind kind, const Device& device, const Region& region,
                  const Assumptions& assumptions, std::optional<double> measured_power_kw) {
  Offer offer;
  offer.kind = kind;
  OwnedCosts& costs = offer.costs;
  costs.capex_usd = device.capex.usd;
  costs.yearly_rate = assumptions.yearly_rate;
  costs.years = assumptions.years;
  costs.usd_per_kwh = region.electricity.usd;
  costs.operations_usd_per_hour = assumptions.operations_usd_per_hour;
  costs.power_kw = measured_power_kw.value_or(device.power.value);
  const bool cooling_is_in_it = !measured_power_kw && device.power_includes_cooling;
  costs.pue = cooling_is_in_it ? 1 : region.pue.value;
  offer.prices = {{"purchase", device.capex}, {"electricity", region.electricity}};
  if (!cooling_is_in_it) offer.prices.push_back({"PUE", region.pue});
  const bool uses_provisioned = !measured_power_kw || kind == OfferKind::kColocation;
  if (uses_provisioned) offer.prices.push_back({"provisioned power", device.power});
  if (kind == OfferKind::kColocation) {
    offer.name = "colocation";
    offer.label = "owned, in colocation";
    costs.colocation_usd_per_hour = region.colocation.usd * device.power.value / kHoursPerMonth;
    offer.prices.push_back({"colocation", region.colocation});
  } else {
    offer.name = "on-premises";
    offer.label = "owned, on premises";
  }
  offer.rate = owned_usd_per_device_hour(costs);
  offer.usd_per_device_hour = offer.rate.total();
  return offer;
}

}  // namespace

std::vector<Offer> make_offers(const PriceFile& prices, const Device& device, const Region& region,
                               const Assumptions& assumptions,
                               std::optional<double> measured_power_kw) {
  std::vector<Offer> offers;
  for (const RentedPrice& rented : prices.rented) {
    if (rented.device == device.name) offers.push_back(rented_offer(rented));
  }
  for (const OfferKind kind : {OfferKind::kColocation, OfferKind::kOnPremises})
    offers.push_back(owned_offer(kind, device, region, assumptions, measured_power_kw));
  return offers;
}

Offer given_offer(double usd_per_device_hour) {
  Offer offer;
  offer.name = "given";
  offer.label = "--usd-per-hour";
  offer.usd_per_device_hour = usd_per_device_hour;
  return offer;
}

}  // namespace iol::economics
