#include "economics/price_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"
#include "tests/economics/sample_prices.h"

namespace iol::economics {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string refusal(const std::string& text) {
  try {
    static_cast<void>(parse_price_file(text, "prices.toml", sample::kToday));
  } catch (const InputError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(PriceFile, reads_what_it_says) {
  const PriceFile prices = sample::prices();
  EXPECT_EQ(prices.device("h100").capex.value, 35040);
  EXPECT_EQ(prices.device("h100").capex.date.text(), "2026-01-31");
  EXPECT_EQ(prices.region("there").pue.value, 1.2);
  EXPECT_EQ(prices.rented.size(), 2U);
  EXPECT_EQ(prices.rented[0].price.source, "a test");
}

TEST(PriceFile, converts_at_the_stated_rate) {
  const PriceFile prices = sample::prices();
  EXPECT_DOUBLE_EQ(prices.region("here").electricity.usd, 0.125);
  EXPECT_DOUBLE_EQ(prices.region("there").electricity.usd, 0.20);
  EXPECT_DOUBLE_EQ(prices.usd_per("EUR"), 1.25);
  EXPECT_EQ(prices.usd_per("USD"), 1);
}

TEST(PriceFile, the_shipped_one_is_whole) {
  const PriceFile prices = load_price_file(IOL_SOURCE_DIR "/economics/prices.toml", today());
  EXPECT_GE(prices.regions.size(), 3U);
  EXPECT_GE(prices.currencies.size(), 2U);
  for (const char* device : {"h100", "h200", "b200"}) {
    EXPECT_TRUE(prices.device(device).surveyed_low) << device;
    const auto is_of_it = [&](const RentedPrice& rented) { return rented.device == device; };
    EXPECT_TRUE(std::any_of(prices.rented.begin(), prices.rented.end(), is_of_it)) << device;
  }
}

struct Bad {
  const char* name;
  const char* from;
  const char* to;
  const char* message;
};

class BadPriceFile : public testing::TestWithParam<Bad> {};

TEST_P(BadPriceFile, is_refused_in_one_line_that_names_file_and_key) {
  const auto& bad = GetParam();
  const std::string message = refusal(sample::edited(sample::text(), bad.from, bad.to));
  EXPECT_THAT(message, AllOf(StartsWith("prices.toml:"), HasSubstr(bad.message)));
  EXPECT_EQ(std::count(message.begin(), message.end(), '\n'), 0) << message;
}

constexpr const char* kRate = "rate = { value = 1.25, unit = \"USD/EUR\", date = 2026-01-31";
constexpr const char* kCapex =
    "capex = { value = 35040, unit = \"USD/device\", date = 2026-01-31, source = \"a test\" }";

INSTANTIATE_TEST_SUITE_P(
    PriceFile, BadPriceFile,
    testing::Values(
        Bad{"no_toml", "[[region]]", "[[region", "not TOML"},
        Bad{"no_table_name", "[[region]]", "[[=]]", "not TOML"},
        Bad{"empty_table_name", "[[region]]", "[[]]", "not TOML"},
        Bad{"beyond_ascii_in_a_key", "[[region]]", "cl\u00e9 = 1\n[[region]]", "not TOML"},
        Bad{"beyond_ascii_after_a_value", "schema_version = 1", "schema_version = 1 \u00a9",
            "not TOML"},
        Bad{"no_version", "schema_version = 1", "", "schema_version: is missing"},
        Bad{"newer_version", "schema_version = 1", "schema_version = 2",
            "schema_version: 2 is not what this iol reads"},
        Bad{"no_unit", "unit = \"USD/device\", ", "", "device[1].capex.unit: is missing"},
        Bad{"wrong_unit", "USD/device\"", "USD/kWh\"", "device[1].capex.unit: must be"},
        Bad{"no_quantity", "USD/device\"", "USD\"", "device[1].capex.unit: must be"},
        Bad{"unknown_currency", "USD/device\"", "CHF/device\"",
            "the currency CHF has no rate; add a [[currency]]"},
        Bad{"negative", "value = 35040", "value = -1", "device[1].capex.value: -1 must be"},
        Bad{"zero", "value = 35040", "value = 0", "device[1].capex.value: 0 must be"},
        Bad{"nan", "value = 35040", "value = nan", "device[1].capex.value: nan must be"},
        Bad{"infinite", "value = 35040", "value = inf", "device[1].capex.value: inf must be"},
        Bad{"text_for_a_number", "value = 35040", "value = \"35040\"", "must be a number"},
        Bad{"undated", kRate, "rate = { value = 1.25, unit = \"USD/EUR\"",
            "currency[1].rate.date: is missing"},
        Bad{"dated_in_quotes", kRate,
            "rate = { value = 1.25, unit = \"USD/EUR\", date = \"2026-01-31\"",
            "must be a date without quotes"},
        Bad{"future", kRate, "rate = { value = 1.25, unit = \"USD/EUR\", date = 2026-07-02",
            "2026-07-02 is in the future (today is 2026-07-01)"},
        Bad{"no_source", ", source = \"a test\"", "", "currency[1].rate.source: is missing"},
        Bad{"bare_value", kCapex, "capex = 35040", "device[1].capex: is a bare value"},
        Bad{"unknown_key", "capex =", "capexx = 1\ncapex =", "device[1].capexx: unknown key"},
        Bad{"unknown_table", "[[currency]]", "[[currencies]]\n[[currency]]",
            "currencies: unknown key"},
        Bad{"pue_below_1", "value = 1.5", "value = 0.9", "region[1].pue: must be at least 1"},
        Bad{"region_twice", "name = \"there\"", "name = \"here\"", "region[2].name: 'here'"},
        Bad{"offer_twice", "name = \"market\"", "name = \"on-demand\"",
            "rented[2].name: 'on-demand' is used twice for h100"},
        Bad{"unknown_device", "device = \"h100\"", "device = \"h900\"",
            "rented[1].device: 'h900' has no [[device]]; there are: h100"},
        Bad{"currency_usd", "code = \"EUR\"", "code = \"USD\"", "three capital letters"},
        Bad{"survey_upside_down", "surveyed_high = { value = 2.0", "surveyed_high = { value = 0.5",
            "must not be below surveyed_low"},
        Bad{"control_character", "label = \"Here\"", "label = \"He\\u001bre\"",
            "control character"},
        Bad{"not_tables", "[[device]]", "[device]", "device: must be tables; write [[device]]"}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(PriceFile, texts_and_comments_go_beyond_ascii) {
  const std::string text = sample::edited(sample::text(), "label = \"Here\"",
                                          "label = \"\u00cele-de-France \u20ac\"  # \u00e9t\u00e9");
  const PriceFile prices = parse_price_file(text, "prices.toml", sample::kToday);
  EXPECT_EQ(prices.regions.front().label, "\u00cele-de-France \u20ac");
}

TEST(PriceFile, without_regions_or_devices_is_refused) {
  EXPECT_THAT(refusal("schema_version = 1\n"), HasSubstr("add a [[region]]"));
  EXPECT_THAT(refusal(""), HasSubstr("schema_version: is missing"));
}

TEST(PriceFile, a_missing_file_is_named) {
  try {
    static_cast<void>(load_price_file("/no/such/prices.toml", sample::kToday));
    FAIL();
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), HasSubstr("/no/such/prices.toml: no such price file"));
  }
}

TEST(PriceFile, unknown_names_list_what_there_is) {
  const PriceFile prices = sample::prices();
  EXPECT_THAT([&] { static_cast<void>(prices.region("mars")); },
              testing::ThrowsMessage<InputError>(HasSubstr("there are: here, there")));
  EXPECT_THAT([&] { static_cast<void>(prices.usd_per("CHF")); },
              testing::ThrowsMessage<InputError>(HasSubstr("there are: USD, EUR")));
}

TEST(Date, counts_whole_months) {
  const Date day{2025, 8, 31};
  EXPECT_EQ(day.months_until({2026, 8, 31}), 12);
  EXPECT_EQ(day.months_until({2026, 8, 30}), 11);
  EXPECT_EQ(day.months_until(day), 0);
}

}  // namespace
}  // namespace iol::economics
