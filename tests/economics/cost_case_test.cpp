#include "economics/cost_case.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "economics/cost_output.h"
#include "economics/study.h"
#include "tests/economics/sample_prices.h"

namespace iol::economics {
namespace {

using ::testing::HasSubstr;

class CostCase : public testing::Test {
 protected:
  CostCase() {
    question_.prices = &prices_;
    question_.device = &prices_.device("h100");
    question_.region = &prices_.region("here");
    question_.assumptions = {.utilization = 0.5,
                             .yearly_rate = 0,
                             .years = 4,
                             .operations_usd_per_hour = 0.075,
                             .devices = 2};
    question_.subjects = {{"slow", "slow", 1000, {}}, {"fast", "fast", 4000, {}}};
  }

  PriceFile prices_ = sample::prices();
  CostQuestion question_;
};

TEST_F(CostCase, rented_and_owned_by_hand) {
  const CostAnswer result = answer(question_);
  ASSERT_EQ(result.offers.size(), 4U);
  EXPECT_EQ(result.offers[0].name, "on-demand");
  EXPECT_EQ(result.offers[0].usd_per_device_hour, 4);
  // 35040 USD over 4 x 8760 h = 1; 1 kW x PUE 1.5 x 0.10 EUR x 1.25 = 0.1875; 146 USD a month for
  // one kW of 730 hours = 0.2; operations 0.075.
  const Offer& colocation = result.offers[2];
  EXPECT_EQ(colocation.name, "colocation");
  EXPECT_NEAR(colocation.rate.capital, 1, 1e-12);
  EXPECT_NEAR(colocation.rate.energy, 0.1875, 1e-12);
  EXPECT_NEAR(colocation.rate.colocation, 0.2, 1e-12);
  EXPECT_NEAR(colocation.usd_per_device_hour, 1.4625, 1e-12);
  EXPECT_NEAR(result.offers[3].usd_per_device_hour, 1.2625, 1e-12);
  // 2 devices x 4 USD / 3.6 million tokens an hour / 50 %.
  EXPECT_NEAR(result.costs[0][0].usd_per_million, 8 / 3.6 / 0.5, 1e-12);
}

TEST_F(CostCase, the_first_subject_is_100) {
  const CostAnswer result = answer(question_);
  for (std::size_t offer = 0; offer < result.offers.size(); ++offer) {
    EXPECT_DOUBLE_EQ(result.costs[0][offer].index, 100);
    EXPECT_DOUBLE_EQ(result.costs[1][offer].index, 25);
    EXPECT_DOUBLE_EQ(result.costs[1][offer].saving, 0.75);
  }
}

TEST_F(CostCase, measured_power_replaces_the_provisioned) {
  question_.subjects[1].power_mean_w = 1000;  // of two devices: 0.5 kW each
  const CostAnswer result = answer(question_);
  const double provisioned = result.costs[0][3].usd_per_device_hour;
  const double measured = result.costs[1][3].usd_per_device_hour;
  EXPECT_NEAR(provisioned - measured, 0.5 * 1.5 * 0.125, 1e-12);
}

TEST_F(CostCase, power_that_includes_cooling_is_not_multiplied_by_pue) {
  prices_ = parse_price_file(sample::edited(sample::text(), "unit = \"kW/device\"",
                                            "includes_cooling = true, unit = \"kW/device\""),
                             "sample.toml", sample::kToday);
  question_.device = &prices_.device("h100");
  question_.region = &prices_.region("here");
  EXPECT_NEAR(answer(question_).offers[3].rate.energy, 0.125, 1e-12);
  question_.subjects[0].power_mean_w = 2000;  // a measurement of the device does not include it
  EXPECT_NEAR(answer(question_).offers[3].rate.energy, 0.1875, 1e-12);
}

TEST_F(CostCase, budget_and_payback) {
  question_.budget = Budget{.monthly = 10'000, .project_cost = 15'000};
  const CostAnswer result = answer(question_);
  EXPECT_DOUBLE_EQ(result.budget[1].yearly_saving, 90'000);
  EXPECT_DOUBLE_EQ(*result.budget[1].payback_months, 2);
  EXPECT_FALSE(result.budget[0].payback_months) << "the first subject saves nothing against itself";
}

TEST_F(CostCase, owning_pays_back_against_the_first_rental) {
  const CostAnswer result = answer(question_);
  const Ownership& colocation = result.ownership[2];
  EXPECT_DOUBLE_EQ(colocation.upfront_usd, 2 * 35040);
  EXPECT_NEAR(colocation.yearly_usd, 2 * 8760 * 0.4625, 1e-6);
  EXPECT_NEAR(colocation.total_usd, 2 * 35040 + 4 * 2 * 8760 * 0.4625, 1e-6);
  EXPECT_NEAR(*colocation.payback_months, 35040 / ((4 - 0.4625) * 730), 1e-9);
  EXPECT_NEAR(*colocation.break_even_use, 1.4625 / 4, 1e-12);
  EXPECT_FALSE(result.ownership[0].payback_months);
}

TEST_F(CostCase, owning_that_runs_dearer_than_renting_never_pays_back) {
  question_.assumptions.operations_usd_per_hour = 5;
  const CostAnswer result = answer(question_);
  EXPECT_FALSE(result.ownership[2].payback_months);
  EXPECT_FALSE(result.ownership[2].break_even_use);
}

TEST_F(CostCase, sensitivity_is_what_the_changed_question_answers) {
  const CostAnswer result = answer(question_);
  ASSERT_FALSE(result.owned_sensitivity.empty());
  for (std::size_t i = 1; i < result.owned_sensitivity.size(); ++i) {
    EXPECT_GE(result.owned_sensitivity[i - 1].swing(), result.owned_sensitivity[i].swing());
  }
  CostQuestion changed = question_;
  changed.assumptions.years = 4 * 0.8;
  const double expected = answer(changed).costs[1][2].usd_per_million;
  for (const Sensitivity& entry : result.owned_sensitivity) {
    if (entry.what == "years of use") {
      EXPECT_NEAR(entry.usd_if_lower, expected, 1e-12);
    }
  }
}

TEST_F(CostCase, sensitivity_of_utilization_stops_at_all_of_it) {
  question_.assumptions.utilization = 0.9;
  const CostAnswer result = answer(question_);
  for (const Sensitivity& entry : result.sensitivity) {
    if (entry.what == "utilization") {
      EXPECT_NEAR(entry.usd_if_higher, 8 / 14.4, 1e-12);
    }
  }
}

TEST_F(CostCase, text_names_assumptions_prices_and_their_age) {
  question_.currency = "EUR";
  const std::string text = cost_text(question_, answer(question_), {2027, 6, 1}, {"--utilization"});
  EXPECT_THAT(text, HasSubstr("A million output tokens, in EUR"));
  EXPECT_THAT(text, HasSubstr("50.0 % utilization"));
  EXPECT_THAT(text, HasSubstr("(assumed; --utilization)"));
  EXPECT_THAT(text, HasSubstr("(--years)"));
  EXPECT_THAT(text, HasSubstr("rental, on demand: 4 USD/device-hour, 2026-01-31, 16 months old"));
  EXPECT_THAT(text, HasSubstr("rate of EUR: 1.25 USD/EUR"));
  EXPECT_THAT(text, HasSubstr("3.20")) << "4 USD an hour in EUR";
}

TEST_F(CostCase, records_hold_every_input_with_date_and_source) {
  const auto records = cost_records(question_, answer(question_));
  ASSERT_EQ(records.size(), 8U);
  for (const auto& record : records) {
    EXPECT_GT(record.at("usd_per_million_output_tokens").get<double>(), 0);
    EXPECT_FALSE(record.at("inputs").empty());
    for (const auto& input : record.at("inputs")) {
      EXPECT_EQ(input.at("date"), "2026-01-31");
      EXPECT_EQ(input.at("source"), "a test");
      EXPECT_FALSE(input.at("unit").get<std::string>().empty());
    }
  }
}

TEST(Study, its_claims_are_computed_again) {
  const PriceFile prices = load_price_file(IOL_SOURCE_DIR "/economics/prices.toml", today());
  const auto claims = study_claims(prices);
  ASSERT_EQ(claims.size(), 5U);
  EXPECT_NEAR(claims[0].result, 8 * 3.93 * 8760, 1e-6);
  EXPECT_TRUE(claims[0].follows);
  EXPECT_NEAR(claims[1].result, 48'000, 1e-9);
  EXPECT_TRUE(claims[1].follows);
  EXPECT_NEAR(claims[2].result, 0.783, 1e-9);
  EXPECT_FALSE(claims[2].follows);
  EXPECT_NEAR(claims[3].result, 50, 1e-9);
  EXPECT_FALSE(claims[3].follows);
  EXPECT_NEAR(claims[4].result, 100 * 864.0 / 2723.0, 1e-9);
  EXPECT_FALSE(claims[4].follows);
}

}  // namespace
}  // namespace iol::economics
