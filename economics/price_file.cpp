#include "economics/price_file.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <ctime>
#include <fstream>
#include <sstream>

#include "base/error.h"
#include "economics/toml_fields.h"

namespace iol::economics {
namespace {

constexpr std::int64_t kSchemaVersion = 1;
constexpr std::uintmax_t kLargestFileBytes = 16 << 20;

bool is_currency_code(std::string_view code) {
  return code.size() == 3 &&
         std::all_of(code.begin(), code.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
}

template <class Entry>
std::vector<std::string> names_of(const std::vector<Entry>& entries) {
  std::vector<std::string> names;
  for (const Entry& entry : entries) names.push_back(entry.name);
  return names;
}

template <class Entry>
const Entry* find_named(const std::vector<Entry>& entries, std::string_view name) {
  for (const Entry& entry : entries) {
    if (entry.name == name) return &entry;
  }
  return nullptr;
}

template <class Entry>
const Entry& named(const std::vector<Entry>& entries, std::string_view name, std::string_view what,
                   const std::string& path) {
  const Entry* entry = find_named(entries, name);
  if (entry == nullptr) {
    throw_input_error("{}: no {} '{}'; there are: {}", path, what, name,
                      fmt::join(names_of(entries), ", "));
  }
  return *entry;
}

/// Reads one file; what it has read so far knows the currencies that later prices may be in.
class PriceFileParser {
 public:
  PriceFileParser(const toml::table& root, const std::string& path, const Date& today)
      : root_(root, path, ""), today_(today) {
    file_.path = path;
  }

  PriceFile parse() && {
    root_.allow_only({"schema_version", "currency", "region", "device", "rented"});
    const auto version = root_.integer("schema_version");
    if (version != kSchemaVersion) {
      root_.fail("schema_version", fmt::format("{} is not what this iol reads, which is {}",
                                               version, kSchemaVersion));
    }
    for (const auto& fields : root_.tables("currency")) add_currency(fields);
    for (const auto& fields : root_.tables("region")) add_region(fields);
    for (const auto& fields : root_.tables("device")) add_device(fields);
    for (const auto& fields : root_.tables("rented")) add_rented(fields);
    if (file_.regions.empty()) root_.fail("region", "there is none; add a [[region]]");
    if (file_.devices.empty()) root_.fail("device", "there is none; add a [[device]]");
    return std::move(file_);
  }

 private:
  /// `quantity` is what follows the currency in the unit ("kWh"), or the whole unit when the number
  /// isn't money.
  Price price(const TomlFields& owner, std::string_view key, std::string_view quantity,
              bool is_money = true) const {
    const TomlFields fields = owner.table(key);
    if (key == "power") {
      fields.allow_only({"value", "unit", "date", "source", "includes_cooling"});
    } else {
      fields.allow_only({"value", "unit", "date", "source"});
    }
    Price price;
    price.value = fields.positive("value");
    price.unit = fields.text("unit");
    price.source = fields.text("source");
    price.date = fields.date("date");
    if (price.date > today_) {
      fields.fail("date", fmt::format("{} is in the future (today is {}); give the day that the "
                                      "price was seen",
                                      price.date.text(), today_.text()));
    }
    price.usd = price.value * usd_per_unit(fields, price.unit, quantity, is_money);
    return price;
  }

  double usd_per_unit(const TomlFields& fields, const std::string& unit, std::string_view quantity,
                      bool is_money) const {
    if (!is_money) {
      if (unit != quantity) fields.fail("unit", fmt::format("must be \"{}\"", quantity));
      return 1;
    }
    const auto slash = unit.find('/');
    const std::string code = unit.substr(0, slash);
    if (slash == std::string::npos || unit.substr(slash + 1) != quantity ||
        !is_currency_code(code)) {
      fields.fail("unit",
                  fmt::format("must be a currency and \"/{}\", as USD/{}", quantity, quantity));
    }
    if (code != "USD" && file_.find_currency(code) == nullptr) {
      fields.fail("unit", fmt::format("the currency {} has no rate; add a [[currency]] with code "
                                      "\"{}\"",
                                      code, code));
    }
    return file_.usd_per(code);
  }

  template <class Entry>
  void check_new(const TomlFields& fields, const std::vector<Entry>& entries,
                 const std::string& name) const {
    if (find_named(entries, name) != nullptr) {
      fields.fail("name", fmt::format("'{}' is used twice", name));
    }
  }

  void add_currency(const TomlFields& fields) {
    fields.allow_only({"code", "rate"});
    Currency currency;
    currency.code = fields.text("code");
    if (!is_currency_code(currency.code) || currency.code == "USD") {
      fields.fail("code", "must be three capital letters other than USD, which is the base");
    }
    if (file_.find_currency(currency.code) != nullptr) {
      fields.fail("code", fmt::format("'{}' is used twice", currency.code));
    }
    currency.rate = price(fields, "rate", "USD/" + currency.code, false);
    file_.currencies.push_back(std::move(currency));
  }

  void add_region(const TomlFields& fields) {
    fields.allow_only({"name", "label", "electricity", "colocation", "pue"});
    Region region;
    region.name = fields.text("name");
    check_new(fields, file_.regions, region.name);
    region.label = fields.text("label");
    region.electricity = price(fields, "electricity", "kWh");
    region.colocation = price(fields, "colocation", "kW-month");
    region.pue = price(fields, "pue", "ratio", false);
    if (region.pue.value < 1) {
      fields.fail("pue", "must be at least 1: a building takes no less than its devices");
    }
    file_.regions.push_back(std::move(region));
  }

  void add_device(const TomlFields& fields) {
    fields.allow_only({"name", "label", "capex", "power", "surveyed_low", "surveyed_high"});
    Device device;
    device.name = fields.text("name");
    check_new(fields, file_.devices, device.name);
    device.label = fields.text("label");
    device.capex = price(fields, "capex", "device");
    device.power = price(fields, "power", "kW/device", false);
    device.power_includes_cooling = fields.table("power").boolean_or("includes_cooling", false);
    if (fields.has("surveyed_low")) {
      device.surveyed_low = price(fields, "surveyed_low", "device-hour");
      device.surveyed_high = price(fields, "surveyed_high", "device-hour");
      if (device.surveyed_high->usd < device.surveyed_low->usd) {
        fields.fail("surveyed_high", "must not be below surveyed_low");
      }
    }
    file_.devices.push_back(std::move(device));
  }

  void add_rented(const TomlFields& fields) {
    fields.allow_only({"device", "name", "label", "price"});
    RentedPrice rented;
    rented.device = fields.text("device");
    if (find_named(file_.devices, rented.device) == nullptr) {
      fields.fail("device", fmt::format("'{}' has no [[device]]; there are: {}", rented.device,
                                        fmt::join(names_of(file_.devices), ", ")));
    }
    rented.name = fields.text("name");
    for (const RentedPrice& other : file_.rented) {
      if (other.device == rented.device && other.name == rented.name) {
        fields.fail("name", fmt::format("'{}' is used twice for {}", rented.name, rented.device));
      }
    }
    rented.label = fields.text("label");
    rented.price = price(fields, "price", "device-hour");
    file_.rented.push_back(std::move(rented));
  }

  TomlFields root_;
  Date today_;
  PriceFile file_;
};

std::string read_text(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) {
    throw_input_error("{}: no such price file; give a TOML file with --prices", path.string());
  }
  if (std::filesystem::file_size(path, error) > kLargestFileBytes) {
    throw_input_error("{}: larger than 16 MiB; this is no price file", path.string());
  }
  std::ifstream stream(path, std::ios::binary);
  std::ostringstream text;
  if (!stream || !(text << stream.rdbuf())) {
    throw_input_error("{}: can't be read, or is empty", path.string());
  }
  return text.str();
}

}  // namespace

std::string Date::text() const { return fmt::format("{:04}-{:02}-{:02}", year, month, day); }

int Date::months_until(const Date& later) const {
  const int months = (later.year - year) * 12 + later.month - month;
  return later.day < day ? months - 1 : months;
}

Date today() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  return {utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday};
}

const Region& PriceFile::region(std::string_view name) const {
  return named(regions, name, "region", path);
}

const Device& PriceFile::device(std::string_view name) const {
  return named(devices, name, "hardware", path);
}

const Currency* PriceFile::find_currency(std::string_view code) const {
  for (const Currency& currency : currencies) {
    if (currency.code == code) return &currency;
  }
  return nullptr;
}

double PriceFile::usd_per(std::string_view code) const {
  if (code == "USD") return 1;
  const Currency* currency = find_currency(code);
  if (currency == nullptr) {
    std::vector<std::string> codes = {"USD"};
    for (const Currency& known : currencies) codes.push_back(known.code);
    throw_input_error("{}: no rate for the currency '{}'; there are: {}", path, code,
                      fmt::join(codes, ", "));
  }
  return currency->rate.value;
}

PriceFile parse_price_file(std::string_view text, const std::string& path, const Date& today) {
  const toml::parse_result parsed = toml::parse(text, path);
  if (!parsed) {
    std::string why(parsed.error().description());
    std::replace_if(
        why.begin(), why.end(), [](unsigned char c) { return c < 0x20; }, ' ');
    throw_input_error("{}:{}: not TOML: {}", path, parsed.error().source().begin.line, why);
  }
  return PriceFileParser(parsed.table(), path, today).parse();
}

PriceFile load_price_file(const std::filesystem::path& path, const Date& today) {
  return parse_price_file(read_text(path), path.string(), today);
}

}  // namespace iol::economics
