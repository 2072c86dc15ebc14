#pragma once
// An answer about money as text for people and as JSON for programs.
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "economics/cost_case.h"

namespace iol::economics {

/// Every price that the answer rests on, each once: those of the offers, then the rates of
/// currency.
std::vector<UsedPrice> used_prices(const CostQuestion& question, const CostAnswer& answer);

/// A plain text page: cost per million tokens, ownership, budget, sensitivity, assumptions, prices.
/// `assumed` names the options whose defaults were taken.
std::string cost_text(const CostQuestion& question, const CostAnswer& answer, const Date& today,
                      const std::vector<std::string>& assumed);

/// The `cost` records, one per subject and offer, without record_type, schema_version and run_id.
nlohmann::json cost_records(const CostQuestion& question, const CostAnswer& answer);

/// The whole answer.
nlohmann::json cost_json(const CostQuestion& question, const CostAnswer& answer,
                         const std::vector<std::string>& assumed);

}  // namespace iol::economics
