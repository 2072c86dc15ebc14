#include "economics/study.h"

#include <fmt/format.h>

#include <array>
#include <cmath>

#include "base/error.h"
#include "economics/amounts.h"
#include "economics/cost.h"

namespace iol::economics {
namespace {

// What the study says.
constexpr double kDevices = 8;
constexpr double kYearlyUsd = 276'000;
constexpr double kMonthlyBudgetEur = 10'000;
constexpr double kSaving = 0.40;
constexpr double kYearlySavingEur = 48'000;
constexpr std::array<double, 4> kIndex = {100, 38.5, 28.6, 21.7};
constexpr double kMemoryLeft = 0.50;  // "memory about -50 %" by quantization
constexpr double kTokensPerSecondBefore = 864;
constexpr double kTokensPerSecondAfter = 2723;
constexpr double kLatencyBeforeMs = 627.9;
constexpr double kLatencyAfterMs = 260.3;
constexpr double kTolerance = 0.01;

bool is_close(double a, double b) { return std::abs(a / b - 1) <= kTolerance; }

StudyClaim claim(std::string text, double claimed, double result, std::string computed) {
  StudyClaim claim;
  claim.claim = std::move(text);
  claim.claimed = claimed;
  claim.result = result;
  claim.computed = std::move(computed);
  claim.follows = is_close(result, claimed);
  return claim;
}

const RentedPrice& on_demand_h100(const PriceFile& prices) {
  for (const RentedPrice& rented : prices.rented) {
    if (rented.device == "h100" && rented.name == "on-demand") return rented;
  }
  throw_input_error("{}: the study's first example needs a [[rented]] entry 'on-demand' of h100",
                    prices.path);
}

StudyClaim eight_devices(const PriceFile& prices) {
  const RentedPrice& rented = on_demand_h100(prices);
  const double yearly = kDevices * rented.price.usd * kHoursPerYear;
  auto result =
      claim("8 H100 on demand cost about 276,000 USD a year", kYearlyUsd, yearly,
            fmt::format("8 x {} USD x 8760 h = {} USD", rented.price.usd, format_amount(yearly)));
  result.remark = fmt::format("It is the price of {} ({}), with every hour of the year paid.",
                              rented.price.date.text(), rented.price.source);
  for (const RentedPrice& other : prices.rented) {
    if (other.device != "h100" || &other == &rented) continue;
    result.remark += fmt::format(" At {} USD ({}, {}) it is {} USD.", other.price.usd, other.label,
                                 other.price.date.text(),
                                 format_amount(kDevices * other.price.usd * kHoursPerYear));
  }
  return result;
}

StudyClaim budget() {
  const double saved = yearly_saving(kMonthlyBudgetEur, 1, 1 - kSaving);
  auto result = claim("10,000 EUR a month and 40 % give 48,000 EUR a year", kYearlySavingEur, saved,
                      fmt::format("10,000 x 12 x 40 % = {} EUR", format_amount(saved)));
  result.remark =
      "The arithmetic holds; the 40 % is a premise, and holds only when the money that is no "
      "longer "
      "needed is really not spent: fewer devices, or the same devices for fewer hours.";
  return result;
}

StudyClaim saving_of_index() {
  const double saving = 1 - kIndex.back() / kIndex.front();
  auto result = claim(
      "the 40 % of that example, and the index 21.7", kSaving, saving,
      fmt::format("1 - 21.7 / 100 = {}, {} EUR a year of the same budget", format_share(saving),
                  format_amount(yearly_saving(kMonthlyBudgetEur, kIndex.front(), kIndex.back()))));
  result.remark =
      "Two examples of the same levers: the index promises twice the saving of the "
      "budget example, whose 40 % would be an index of 60.";
  return result;
}

StudyClaim quantization_step() {
  const double from_bytes = 100 * kMemoryLeft;
  auto result = claim("quantization takes the cost index from 100 to 38.5", kIndex[1], from_bytes,
                      fmt::format("half the bytes, so at best twice the tokens of a decode that "
                                  "memory limits: 100 x 50 % = {:.1f}; 38.5 takes {:.2f} times",
                                  from_bytes, kIndex[0] / kIndex[1]));
  result.remark =
      "Half the memory explains a factor of 2 and no more. The rest must come from something else, "
      "such as larger batches in the memory that became free, which the next steps count again.";
  return result;
}

StudyClaim whole_index() {
  const double gain = kTokensPerSecondAfter / kTokensPerSecondBefore;
  auto result =
      claim("all levers together take the cost index from 100 to 21.7", kIndex.back(), 100 / gain,
            fmt::format("864 -> 2723 tok/s is {:.2f} times, an index of {:.1f}; 21.7 takes "
                        "{:.2f} times",
                        gain, 100 / gain, kIndex.front() / kIndex.back()));
  result.remark = fmt::format(
      "At one price per hour the index is 100 / gain in throughput. The study's own measurement "
      "gives {:.1f}; its latency, 627.9 -> 260.3 ms ({:.2f} times), gives {:.1f}. The steps after "
      "quantization, {:.2f} and {:.2f} times, have no measurement behind them; speculation's \"2 "
      "to "
      "3 times\" isn't in the index.",
      100 / gain, kLatencyBeforeMs / kLatencyAfterMs, 100 * kLatencyAfterMs / kLatencyBeforeMs,
      kIndex[1] / kIndex[2], kIndex[2] / kIndex[3]);
  return result;
}

}  // namespace

std::vector<StudyClaim> study_claims(const PriceFile& prices) {
  return {eight_devices(prices), budget(), saving_of_index(), quantization_step(), whole_index()};
}

std::string study_text(const std::vector<StudyClaim>& claims, const PriceFile& prices) {
  std::string text = "The study's money, computed again from its own premises\n";
  for (const StudyClaim& claim : claims) {
    text += fmt::format("\n{}\n  computed: {}\n  {}\n  {}\n", claim.claim, claim.computed,
                        claim.follows ? "follows" : "DOES NOT FOLLOW", claim.remark);
  }
  return text + fmt::format("\nPrices from {}\n", prices.path);
}

nlohmann::json study_json(const std::vector<StudyClaim>& claims) {
  nlohmann::json json = nlohmann::json::array();
  for (const StudyClaim& claim : claims) {
    json.push_back({{"claim", claim.claim},
                    {"claimed", claim.claimed},
                    {"result", claim.result},
                    {"computed", claim.computed},
                    {"follows", claim.follows},
                    {"remark", claim.remark}});
  }
  return {{"study", std::move(json)}};
}

}  // namespace iol::economics
