#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "sampler/truncation.h"

namespace iol {

/// A distribution over tokens, as weights that sum to `total`; tokens not named have none.
struct TokenDistribution {
  std::vector<Candidate> candidates;  // ascending ids
  double total = 0;

  [[nodiscard]] double probability(std::int32_t token) const;
  /// Inverse CDF in ascending id order; uniform in [0, 1). Throws InternalError when it is empty.
  [[nodiscard]] std::int32_t draw(double uniform) const;
};

/// A token drawn from max(0, target - draft), normalized: what replaces a draft that was rejected.
/// Nothing when the two are equal to the last bit, so that nothing is left over.
std::optional<std::int32_t> draw_residual(const TokenDistribution& target,
                                          const TokenDistribution& draft, double uniform);

}  // namespace iol
