#pragma once
// The sampler as its header defines it, written as plainly as can be: doubles, full sorts.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>
#include <vector>

#include "request/sequence.h"

namespace iol::testing {

/// Steps 6 to 9 of sampler.h: the probability of each token. `closest_call` becomes the smallest
/// relative distance of a decision from its border: under 1e-5, f32 may decide otherwise.
inline std::vector<double> reference_probabilities(std::span<const float> logits,
                                                   const SamplingParams& sampling,
                                                   double& closest_call) {
  const auto size = logits.size();
  const double max = *std::max_element(logits.begin(), logits.end());
  std::vector<double> weights(size);
  for (std::size_t i = 0; i < size; ++i) {
    weights[i] = std::exp((double{logits[i]} - max) / sampling.temperature);
  }
  std::vector<std::size_t> order(size);
  std::iota(order.begin(), order.end(), 0U);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return logits[a] > logits[b]; });
  closest_call = 1.0;
  if (sampling.top_k > 0 && static_cast<std::size_t>(sampling.top_k) < size) {
    const float kth = logits[order[static_cast<std::size_t>(sampling.top_k) - 1]];
    for (std::size_t i = 0; i < size; ++i) {
      if (logits[i] < kth) weights[i] = 0;
    }
  }
  if (sampling.top_p < 1.0) {
    const double target = sampling.top_p * std::accumulate(weights.begin(), weights.end(), 0.0);
    double sum = 0;
    for (const std::size_t i : order) {
      const double weight = weights[i];
      closest_call = std::min(closest_call, std::abs(sum - target) / target);
      if (sum >= target) weights[i] = 0;
      sum += weight;
    }
  }
  if (sampling.min_p > 0) {
    for (double& weight : weights) {
      if (weight > 0) {
        closest_call = std::min(closest_call, std::abs(weight - sampling.min_p) / sampling.min_p);
      }
      if (weight < sampling.min_p) weight = 0;
    }
  }
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  for (double& weight : weights) weight /= sum;
  return weights;
}

/// True when `token` is the inverse CDF at `uniform`, up to `tolerance` in the CDF.
inline bool is_inverse_cdf(std::span<const double> probabilities, double uniform,
                           std::int32_t token, double tolerance) {
  const auto index = static_cast<std::size_t>(token);
  double below = 0;
  for (std::size_t i = 0; i < index; ++i) below += probabilities[i];
  return probabilities[index] > 0 && uniform >= below - tolerance &&
         uniform <= below + probabilities[index] + tolerance;
}

}  // namespace iol::testing
