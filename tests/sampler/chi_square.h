#pragma once
#include <cmath>
#include <vector>

namespace iol::testing {

/// The chi-square value that a right sampler exceeds with a probability of 3e-7 (Wilson and
/// Hilferty's approximation, z = 5).
inline double chi_square_bound(double freedom) {
  const double a = 2.0 / (9.0 * freedom);
  return freedom * std::pow(1.0 - a + 5.0 * std::sqrt(a), 3);
}

inline double chi_square(const std::vector<int>& counts, const std::vector<double>& probabilities,
                         int num_draws) {
  double sum = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const double expected = probabilities[i] * num_draws;
    if (expected > 0) sum += (counts[i] - expected) * (counts[i] - expected) / expected;
  }
  return sum;
}

}  // namespace iol::testing
