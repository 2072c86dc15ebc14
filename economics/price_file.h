#pragma once
// The dated, sourced price file (TOML): what hardware, power, room and rental cost, and where that
// is said. Its form is described at the top of economics/prices.toml and in docs/cost.md.
#include <compare>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace iol::economics {

/// A day of the calendar.
struct Date {
  int year = 0;
  int month = 0;
  int day = 0;
  auto operator<=>(const Date&) const = default;
  [[nodiscard]] std::string text() const;  // 2025-08-31
  /// Whole months from this day to `later`.
  [[nodiscard]] int months_until(const Date& later) const;
};

/// Today, in UTC.
Date today();

/// A number with all that makes it worth something.
struct Price {
  double value = 0;  // as the file says it, in `unit`
  std::string unit;  // EUR/kWh
  Date date;
  std::string source;
  double usd = 0;  // the same in USD per the unit's quantity; the value when it isn't money
};

struct Currency {
  std::string code;
  Price rate;  // USD per one of it
};

struct Region {
  std::string name;
  std::string label;
  Price electricity;  // per kWh
  Price colocation;   // per kW-month of provisioned power
  Price pue;
};

struct Device {
  std::string name;
  std::string label;
  Price capex;  // per device
  Price power;  // kW per device, provisioned
  bool power_includes_cooling = false;
  std::optional<Price> surveyed_low;  // of owning, all in, per device-hour: to compare with
  std::optional<Price> surveyed_high;
};

struct RentedPrice {
  std::string device;
  std::string name;
  std::string label;
  Price price;  // per device-hour
};

struct PriceFile {
  std::string path;
  std::vector<Currency> currencies;  // without USD
  std::vector<Region> regions;       // the first is the default
  std::vector<Device> devices;
  std::vector<RentedPrice> rented;  // the first of a device is its reference

  /// Each throws InputError that names the file and lists what there is.
  [[nodiscard]] const Region& region(std::string_view name) const;
  [[nodiscard]] const Device& device(std::string_view name) const;
  /// USD per one `code`; 1 for USD itself.
  [[nodiscard]] double usd_per(std::string_view code) const;
  /// Null for USD, which needs no rate.
  [[nodiscard]] const Currency* find_currency(std::string_view code) const;
};

/// Throws InputError of one line (file, line, key, what to do) for text that isn't TOML, keys that
/// are missing or unknown, values that aren't finite and above 0, units or currencies that are
/// unknown, prices without date or source, dates after `today`, names used twice, a newer
/// schema_version.
PriceFile parse_price_file(std::string_view text, const std::string& path, const Date& today);
PriceFile load_price_file(const std::filesystem::path& path, const Date& today);

}  // namespace iol::economics
