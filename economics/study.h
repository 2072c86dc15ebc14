#pragma once
// The money of the study "Optimisation de l'inférence LLM", computed again from its own premises.
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "economics/price_file.h"

namespace iol::economics {

/// One claim: what the study says, what comes out, and whether the one follows from the other.
struct StudyClaim {
  std::string claim;     // in words
  std::string computed;  // the calculation, with its result
  double claimed = 0;
  double result = 0;
  bool follows = false;  // within 1 % of what is claimed
  std::string remark;    // why not, or what else must be said
};

/// Takes the rental of `h100`/`on-demand` from the price file. Throws InputError without it.
std::vector<StudyClaim> study_claims(const PriceFile& prices);

std::string study_text(const std::vector<StudyClaim>& claims, const PriceFile& prices);
nlohmann::json study_json(const std::vector<StudyClaim>& claims);

}  // namespace iol::economics
