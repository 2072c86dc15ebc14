#pragma once
// What the study "Optimisation de l'inférence LLM" claims for each lever, held against a ladder
// that was measured. Its money is in economics/study.h.
#include <string>
#include <vector>

#include "report/ladder.h"

namespace iol::report {

struct StudyClaim {
  std::string claim;     // what of
  std::string claimed;   // the study's number
  std::string measured;  // ours, with its interval; or why there is none
  std::string why;       // they differ, or what agreement means
};

std::vector<StudyClaim> study_claims(const RunReport& report, const Ladder& ladder);

}  // namespace iol::report
