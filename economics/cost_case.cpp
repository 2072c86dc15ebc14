#include "economics/cost_case.h"

#include <algorithm>

#include "base/error.h"

namespace iol::economics {
namespace {

std::vector<Offer> offers_for(const CostQuestion& question, const MeasuredSubject& subject) {
  std::vector<Offer> offers;
  if (question.given_usd_per_device_hour) {
    offers.push_back(given_offer(*question.given_usd_per_device_hour));
  }
  if (question.device == nullptr) return offers;
  std::optional<double> power_kw;
  if (subject.power_mean_w) {
    power_kw = *subject.power_mean_w / 1000 / question.assumptions.devices;
  }
  auto listed = make_offers(*question.prices, *question.device, *question.region,
                            question.assumptions, power_kw);
  offers.insert(offers.end(), listed.begin(), listed.end());
  return offers;
}

std::vector<SubjectCost> costs_of(const CostQuestion& question, const MeasuredSubject& subject) {
  std::vector<SubjectCost> costs;
  for (const Offer& offer : offers_for(question, subject)) {
    SubjectCost cost;
    cost.usd_per_device_hour = offer.usd_per_device_hour;
    cost.usd_per_million =
        usd_per_million_output_tokens(offer.usd_per_device_hour, question.assumptions.devices,
                                      subject.output_tok_s, question.assumptions.utilization);
    costs.push_back(cost);
  }
  return costs;
}

void add_indices(std::vector<std::vector<SubjectCost>>& costs) {
  const std::vector<SubjectCost> first = costs.front();
  for (auto& subject : costs) {
    for (std::size_t offer = 0; offer < subject.size(); ++offer) {
      const double ratio = subject[offer].usd_per_million / first[offer].usd_per_million;
      subject[offer].index = 100 * ratio;
      subject[offer].saving = 1 - ratio;
    }
  }
}

Ownership ownership_of(const Offer& offer, const Offer* reference_rental,
                       const Assumptions& assumptions) {
  Ownership result;
  const double device_hours = kHoursPerYear * assumptions.devices;
  const double hourly = offer.owned() ? offer.rate.running() : offer.usd_per_device_hour;
  result.upfront_usd = offer.owned() ? offer.costs.capex_usd * assumptions.devices : 0;
  result.yearly_usd = hourly * device_hours;
  result.total_usd = result.upfront_usd + assumptions.years * result.yearly_usd;
  if (!offer.owned() || reference_rental == nullptr) return result;
  const double monthly_gain = (reference_rental->usd_per_device_hour - hourly) * kHoursPerMonth;
  result.payback_months = payback_months(offer.costs.capex_usd, monthly_gain);
  const double share = offer.usd_per_device_hour / reference_rental->usd_per_device_hour;
  if (share < 1) result.break_even_use = share;
  return result;
}

}  // namespace

CostAnswer answer(const CostQuestion& question) {
  IOL_CHECK(!question.subjects.empty());
  CostAnswer result;
  result.offers = offers_for(question, question.subjects.front());
  IOL_CHECK(!result.offers.empty());
  for (const MeasuredSubject& subject : question.subjects)
    result.costs.push_back(costs_of(question, subject));
  add_indices(result.costs);

  const auto& offers = result.offers;
  const auto is_rental = [](const Offer& offer) { return !offer.owned(); };
  const auto rental = std::find_if(offers.begin(), offers.end(), is_rental);
  const auto owned = std::find_if_not(offers.begin(), offers.end(), is_rental);
  const Offer* reference = rental == offers.end() ? nullptr : &*rental;
  for (const Offer& offer : offers)
    result.ownership.push_back(ownership_of(offer, reference, question.assumptions));
  result.first_owned = static_cast<std::size_t>(owned - offers.begin());

  if (question.budget) {
    const double before = result.costs.front().front().usd_per_million;
    for (const auto& costs : result.costs) {
      BudgetAnswer budget;
      budget.yearly_saving =
          yearly_saving(question.budget->monthly, before, costs.front().usd_per_million);
      budget.payback_months =
          payback_months(question.budget->project_cost, budget.yearly_saving / 12);
      result.budget.push_back(budget);
    }
  }
  const MeasuredSubject& last = question.subjects.back();
  const auto last_offers = offers_for(question, last);
  result.sensitivity = sensitivities(last_offers.front(), question.assumptions, last.output_tok_s);
  if (result.first_owned < last_offers.size() && result.first_owned > 0) {
    result.owned_sensitivity =
        sensitivities(last_offers[result.first_owned], question.assumptions, last.output_tok_s);
  }
  return result;
}

}  // namespace iol::economics
