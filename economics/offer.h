#pragma once
// The ways to have a device for an hour, side by side: rented, owned in someone's data centre,
// owned in one's own.
#include <optional>
#include <string>
#include <vector>

#include "economics/cost.h"
#include "economics/price_file.h"

namespace iol::economics {

/// What no price list says. Defaults are guesses, and printed as such.
struct Assumptions {
  double utilization = 0.5;            // share of paid hours at the measured throughput
  double yearly_rate = 0.08;           // of capital
  double years = 4;                    // over which capital is paid back
  double operations_usd_per_hour = 0;  // staff and maintenance, per device-hour
  double devices = 1;
};

/// A price that an answer rests on, and for what.
struct UsedPrice {
  std::string what;
  Price price;
};

enum class OfferKind { kGiven, kRented, kColocation, kOnPremises };

struct Offer {
  OfferKind kind = OfferKind::kGiven;
  std::string name;   // on-demand, colocation
  std::string label;  // "hyperscaler, on demand"
  double usd_per_device_hour = 0;
  OwnedCosts costs;  // of owned offers
  OwnedRate rate;    // of owned offers
  std::vector<UsedPrice> prices;
  [[nodiscard]] bool owned() const {
    return kind == OfferKind::kColocation || kind == OfferKind::kOnPremises;
  }
};

/// Rented offers in the file's order, then owned with colocation, then owned on premises.
///
/// Owned energy counts `measured_power_kw` (of one device) times the region's PUE where there is a
/// measurement, else the provisioned power, times PUE unless cooling is in it already. Colocation
/// is paid for provisioned power. On premises the building counts as there already: it costs
/// nothing but its share of the energy.
std::vector<Offer> make_offers(const PriceFile& prices, const Device& device, const Region& region,
                               const Assumptions& assumptions,
                               std::optional<double> measured_power_kw);

/// An offer of a price that the user gives.
Offer given_offer(double usd_per_device_hour);

}  // namespace iol::economics
