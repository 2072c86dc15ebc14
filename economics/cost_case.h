#pragma once
// One question about money, and its answer: what a million output tokens cost with each subject and
// each offer, what that saves, and what owning costs over its years.
#include <optional>
#include <string>
#include <vector>

#include "economics/offer.h"
#include "economics/sensitivity.h"

namespace iol::economics {

/// One configuration and what it reached on all devices together.
struct MeasuredSubject {
  std::string name;
  std::string label;
  double output_tok_s = 0;
  std::optional<double> power_mean_w;  // of all devices together
};

struct Budget {
  double monthly = 0;       // in `currency`
  double project_cost = 0;  // spent once for the change, in `currency`
};

struct CostQuestion {
  const PriceFile* prices = nullptr;
  const Device* device = nullptr;  // null: only the given price
  const Region* region = nullptr;
  std::optional<double> given_usd_per_device_hour;
  Assumptions assumptions;
  std::vector<MeasuredSubject> subjects;  // the first is what the others are held against
  std::string load;                       // "throughput, concurrency 16"; empty when given by hand
  std::optional<Budget> budget;
  std::string currency = "USD";  // that amounts are shown in
};

/// One subject with one offer.
struct SubjectCost {
  double usd_per_device_hour = 0;
  double usd_per_million = 0;
  double index = 0;   // the first subject with the same offer is 100
  double saving = 0;  // against the first subject: 1 - cost / cost
};

struct BudgetAnswer {
  double yearly_saving = 0;              // in the budget's currency
  std::optional<double> payback_months;  // of the project's cost
};

/// What the devices cost over the years of the assumptions, and when buying has paid off against
/// the reference rental. In USD, for all devices, running every hour.
struct Ownership {
  double upfront_usd = 0;
  double yearly_usd = 0;  // paid during the years: rent, or running cost without capital
  double total_usd = 0;   // undiscounted: upfront + years * yearly
  std::optional<double> payback_months;  // of owning, against the reference rental
  std::optional<double>
      break_even_use;  // used less than this share, renting by the hour costs less
};

struct CostAnswer {
  std::vector<Offer> offers;                    // of the first subject
  std::vector<std::vector<SubjectCost>> costs;  // [subject][offer]
  std::vector<Ownership> ownership;             // [offer]
  std::vector<BudgetAnswer> budget;             // [subject], with the first offer; none: no budget
  std::vector<Sensitivity> sensitivity;         // of the last subject with the first offer
  std::vector<Sensitivity> owned_sensitivity;   // with the first owned offer; empty without one
  std::size_t first_owned = 0;                  // offers.size() when there is none
};

CostAnswer answer(const CostQuestion& question);

}  // namespace iol::economics
