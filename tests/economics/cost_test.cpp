// The formulas against published tables and against sums done another way.
#include "economics/cost.h"

#include <gtest/gtest.h>

#include <cmath>

namespace iol::economics {
namespace {

struct Recovery {
  double rate;
  double years;
  double factor;  // as compound interest tables print it, five decimals
};

class CapitalRecovery : public testing::TestWithParam<Recovery> {};

TEST_P(CapitalRecovery, is_what_the_table_of_compound_interest_says) {
  const auto& entry = GetParam();
  EXPECT_NEAR(capital_recovery_factor(entry.rate, entry.years), entry.factor, 5e-6);
}

// A/P factors of compound interest tables.
INSTANTIATE_TEST_SUITE_P(Table, CapitalRecovery,
                         testing::Values(Recovery{0.05, 5, 0.23097}, Recovery{0.08, 4, 0.30192},
                                         Recovery{0.10, 3, 0.40211}, Recovery{0.10, 10, 0.16275},
                                         Recovery{0.06, 20, 0.08718}, Recovery{0.12, 30, 0.12414}));

TEST(CapitalRecovery, pays_a_loan_back_to_the_cent) {
  // Year by year: interest is added, the payment is taken off; nothing must be left.
  for (const double rate : {0.0, 1e-9, 0.03, 0.08, 0.5}) {
    for (const int years : {1, 4, 30}) {
      const double payment = 1000 * capital_recovery_factor(rate, years);
      double owed = 1000;
      for (int year = 0; year < years; ++year) owed = owed * (1 + rate) - payment;
      EXPECT_NEAR(owed, 0, 1e-6 * std::pow(1 + rate, years)) << rate << " " << years;
    }
  }
}

TEST(Cost, of_a_million_tokens_by_hand) {
  // 2 devices at 3 USD an hour make 1000 tok/s: 3.6 million tokens an hour for 6 USD.
  EXPECT_DOUBLE_EQ(usd_per_million_output_tokens(3, 2, 1000, 1), 6 / 3.6);
  EXPECT_DOUBLE_EQ(usd_per_million_output_tokens(3, 2, 1000, 0.5), 2 * 6 / 3.6);
}

TEST(Cost, of_owning_by_hand) {
  const OwnedCosts costs{.capex_usd = 8760,
                         .yearly_rate = 0,
                         .years = 2,
                         .power_kw = 0.7,
                         .pue = 1.5,
                         .usd_per_kwh = 0.10,
                         .colocation_usd_per_hour = 0.25,
                         .operations_usd_per_hour = 0.05};
  const OwnedRate rate = owned_usd_per_device_hour(costs);
  EXPECT_DOUBLE_EQ(rate.capital, 0.5);
  EXPECT_DOUBLE_EQ(rate.energy, 0.105);
  EXPECT_DOUBLE_EQ(rate.running(), 0.105 + 0.25 + 0.05);
  EXPECT_DOUBLE_EQ(rate.total(), 0.5 + 0.105 + 0.25 + 0.05);
}

TEST(Cost, saving_is_the_studys) {
  EXPECT_DOUBLE_EQ(yearly_saving(10'000, 100, 60), 48'000);
  EXPECT_LT(yearly_saving(10'000, 1, 1.5), 0) << "a dearer configuration saves nothing";
}

TEST(Cost, payback_is_never_without_a_gain) {
  EXPECT_DOUBLE_EQ(*payback_months(12'000, 4'000), 3);
  EXPECT_FALSE(payback_months(12'000, 0));
  EXPECT_FALSE(payback_months(12'000, -1));
}

}  // namespace
}  // namespace iol::economics
