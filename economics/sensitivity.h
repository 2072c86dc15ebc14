#pragma once
// Which assumption moves the answer most: every number of a cost is moved up and down by the same
// share, one at a time.
#include <string>
#include <vector>

#include "economics/offer.h"

namespace iol::economics {

inline constexpr double kSensitivityShare = 0.20;

struct Sensitivity {
  std::string what;                    // "utilization"
  double value = 0;                    // as it is
  double usd_if_lower = 0;             // USD per million tokens with 20 % less of it
  double usd_if_higher = 0;            // with 20 % more
  [[nodiscard]] double swing() const;  // how far apart the two are
};

/// Largest swing first. `utilization` stops at 1; a number that is 0 is left out.
std::vector<Sensitivity> sensitivities(const Offer& offer, const Assumptions& assumptions,
                                       double output_tok_s);

}  // namespace iol::economics
