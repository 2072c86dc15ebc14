#include "economics/cost_output.h"

namespace iol::economics {
namespace {

using Json = nlohmann::json;

/// An absent number is null, never 0.
Json or_null(const std::optional<double>& value) { return value ? Json(*value) : Json(nullptr); }

Json to_json(const UsedPrice& used) {
  return {{"what", used.what},
          {"value", used.price.value},
          {"unit", used.price.unit},
          {"date", used.price.date.text()},
          {"source", used.price.source}};
}

Json to_json(const std::vector<UsedPrice>& prices) {
  Json json = Json::array();
  for (const UsedPrice& used : prices) json.push_back(to_json(used));
  return json;
}

Json to_json(const std::vector<Sensitivity>& entries) {
  Json json = Json::array();
  for (const Sensitivity& entry : entries) {
    json.push_back({{"what", entry.what},
                    {"value", entry.value},
                    {"usd_per_million_if_20_percent_lower", entry.usd_if_lower},
                    {"usd_per_million_if_20_percent_higher", entry.usd_if_higher}});
  }
  return json;
}

Json offer_json(const Offer& offer, const Ownership& owning) {
  Json json = {{"name", offer.name},
               {"label", offer.label},
               {"usd_per_device_hour", offer.usd_per_device_hour},
               {"upfront_usd", owning.upfront_usd},
               {"yearly_usd", owning.yearly_usd},
               {"total_usd", owning.total_usd},
               {"payback_months", or_null(owning.payback_months)},
               {"break_even_use", or_null(owning.break_even_use)},
               {"inputs", to_json(offer.prices)}};
  if (offer.owned()) {
    json["parts_usd_per_device_hour"] = {{"capital", offer.rate.capital},
                                         {"energy", offer.rate.energy},
                                         {"colocation", offer.rate.colocation},
                                         {"operations", offer.rate.operations}};
  }
  return json;
}

Json assumptions_json(const CostQuestion& question, const std::vector<std::string>& assumed) {
  const Assumptions& a = question.assumptions;
  return {{"devices", a.devices},
          {"utilization", a.utilization},
          {"yearly_rate", a.yearly_rate},
          {"years", a.years},
          {"operations_usd_per_device_hour", a.operations_usd_per_hour},
          {"defaults_taken", assumed}};
}

}  // namespace

Json cost_records(const CostQuestion& question, const CostAnswer& answer) {
  Json records = Json::array();
  for (std::size_t s = 0; s < question.subjects.size(); ++s) {
    const MeasuredSubject& subject = question.subjects[s];
    for (std::size_t o = 0; o < answer.offers.size(); ++o) {
      const Offer& offer = answer.offers[o];
      const SubjectCost& cost = answer.costs[s][o];
      Json record = {{"subject", subject.name},
                     {"offer", offer.name},
                     {"hardware", question.device ? Json(question.device->name) : Json(nullptr)},
                     {"region", question.device ? Json(question.region->name) : Json(nullptr)},
                     {"devices", question.assumptions.devices},
                     {"load", question.load.empty() ? Json(nullptr) : Json(question.load)},
                     {"utilization", question.assumptions.utilization},
                     {"output_throughput_tok_s", subject.output_tok_s},
                     {"power_mean_w", or_null(subject.power_mean_w)},
                     {"usd_per_device_hour", cost.usd_per_device_hour},
                     {"usd_per_million_output_tokens", cost.usd_per_million},
                     {"cost_index", cost.index},
                     {"saving", cost.saving},
                     {"inputs", to_json(offer.prices)}};
      if (offer.owned()) {
        record["yearly_rate"] = question.assumptions.yearly_rate;
        record["years"] = question.assumptions.years;
      }
      records.push_back(std::move(record));
    }
  }
  return records;
}

Json cost_json(const CostQuestion& question, const CostAnswer& answer,
               const std::vector<std::string>& assumed) {
  Json offers = Json::array();
  for (std::size_t o = 0; o < answer.offers.size(); ++o)
    offers.push_back(offer_json(answer.offers[o], answer.ownership[o]));
  Json json = {{"assumptions", assumptions_json(question, assumed)},
               {"costs", cost_records(question, answer)},
               {"offers", std::move(offers)},
               {"sensitivity",
                {{"subject", question.subjects.back().name},
                 {"first_offer", to_json(answer.sensitivity)},
                 {"first_owned_offer", to_json(answer.owned_sensitivity)}}},
               {"price_file", question.prices ? Json(question.prices->path) : Json(nullptr)},
               {"prices", to_json(used_prices(question, answer))}};
  if (question.budget) {
    Json savings = Json::array();
    for (std::size_t s = 0; s < question.subjects.size(); ++s) {
      savings.push_back({{"subject", question.subjects[s].name},
                         {"offer", answer.offers.front().name},
                         {"saving", answer.costs[s].front().saving},
                         {"yearly_saving", answer.budget[s].yearly_saving},
                         {"payback_months", or_null(answer.budget[s].payback_months)}});
    }
    json["budget"] = {{"currency", question.currency},
                      {"monthly", question.budget->monthly},
                      {"project_cost", question.budget->project_cost},
                      {"savings", std::move(savings)}};
  }
  return json;
}

}  // namespace iol::economics
