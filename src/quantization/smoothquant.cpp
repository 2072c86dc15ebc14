#include "quantization/smoothquant.h"

#include <algorithm>
#include <cmath>

namespace iol {
namespace {

constexpr float kFloor = 1e-5F;

/// False when all are zero: then there is nothing to scale by.
bool floor_values(std::vector<float>& values) {
  const float largest = *std::max_element(values.begin(), values.end());
  for (float& value : values) value = std::max(value, kFloor * largest);
  return largest > 0;
}

}  // namespace

std::vector<Candidate> smoothquant_candidates(const ScalingSite& site,
                                              const InputStatistics& inputs,
                                              const std::vector<float>& weight_max_abs) {
  const auto largest = [](float a, float b) { return std::max(a, b); };
  std::vector<Candidate> candidates = {
      {std::nullopt, std::vector<float>(static_cast<std::size_t>(site.num_columns), 1.0F)}};
  auto x = site.pooled(inputs.max_abs, largest);
  auto w = site.pooled(weight_max_abs, largest);
  if (!floor_values(x) || !floor_values(w)) return candidates;
  for (const double strength : strength_grid()) {
    std::vector<float> scales;
    for (std::size_t j = 0; j < x.size(); ++j)
      scales.push_back(static_cast<float>(std::pow(double{x[j]}, strength) /
                                          std::pow(double{w[j]}, 1 - strength)));
    center_scales(scales);
    candidates.push_back({strength, site.expanded(scales)});
  }
  return candidates;
}

}  // namespace iol
