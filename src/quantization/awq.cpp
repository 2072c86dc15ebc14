#include "quantization/awq.h"

#include <algorithm>
#include <cmath>

#include "backend/quantize_row.h"
#include "quantization/dot_products.h"

namespace iol {
namespace {

constexpr float kFloor = 1e-4F;

/// G[i][j] = sum over r of x[r][first + i] x[r][first + j] / (columns[first + i] columns[first +
/// j])
std::vector<float> second_moments(const InputStatistics& inputs, const std::vector<float>& columns,
                                  std::size_t first, std::size_t group, ThreadPool& threads) {
  const std::size_t num_inputs = inputs.rows.size() / columns.size();
  std::vector<float> transposed(group * num_inputs);
  for (std::size_t i = 0; i < group; ++i) {
    for (std::size_t r = 0; r < num_inputs; ++r)
      transposed[i * num_inputs + r] =
          inputs.rows[r * columns.size() + first + i] / columns[first + i];
  }
  std::vector<float> moments(group * group);
  const auto width = static_cast<std::int64_t>(group);
  const auto depth = static_cast<std::int64_t>(num_inputs);
  threads.for_ranges(width, 1, [&](std::int64_t begin, std::int64_t end, int) {
    dot_products(transposed.data() + begin * depth, end - begin, transposed.data(), width, depth,
                 moments.data() + begin * width, width);
  });
  return moments;
}

/// One group of one row: tries every clip ratio.
class GroupClipper {
 public:
  explicit GroupClipper(std::size_t group)
      : weights_(group),
        rounded_(group),
        differences_(group * kNumClips),
        products_(group * kNumClips) {}

  /// [group], to be filled in before best_steps().
  std::span<float> weights() { return weights_; }

  std::uint8_t best_steps(const std::vector<float>& moments) {
    const std::size_t group = weights_.size();
    for (int steps = 0; steps < kNumClips; ++steps) {
      rounded_ = weights_;
      clip_group(rounded_, steps);
      const bool is_finite =
          quantize_row(WeightFormat::kInt4, static_cast<std::int64_t>(group), rounded_, scratch_);
      if (!is_finite) return 0;
      dequantize_row(WeightFormat::kInt4, static_cast<std::int64_t>(group), scratch_, rounded_);
      float* difference = differences_.data() + static_cast<std::size_t>(steps) * group;
      for (std::size_t i = 0; i < group; ++i) difference[i] = rounded_[i] - weights_[i];
    }
    const auto width = static_cast<std::int64_t>(group);
    dot_products(differences_.data(), kNumClips, moments.data(), width, width, products_.data(),
                 width);
    std::uint8_t best = 0;
    double least = 0;
    for (std::size_t steps = 0; steps < kNumClips; ++steps) {
      double error = 0;
      for (std::size_t i = 0; i < group; ++i)
        error += double{products_[steps * group + i]} * double{differences_[steps * group + i]};
      if (steps == 0 || error < least) {
        least = error;
        best = static_cast<std::uint8_t>(steps);
      }
    }
    return best;
  }

 private:
  std::vector<float> weights_;      // [group]
  std::vector<float> rounded_;      // [group]
  std::vector<float> differences_;  // [kNumClips, group]
  std::vector<float> products_;     // [kNumClips, group] differences times the second moments
  QuantizedRow scratch_;
};

}  // namespace

std::vector<Candidate> awq_candidates(const ScalingSite& site, const InputStatistics& inputs) {
  std::vector<Candidate> candidates = {
      {std::nullopt, std::vector<float>(static_cast<std::size_t>(site.num_columns), 1.0F)}};
  auto mean = site.pooled(inputs.mean_abs, [](float a, float b) { return a + b; });
  const float largest = *std::max_element(mean.begin(), mean.end());
  if (largest == 0) return candidates;
  for (float& value : mean) value = std::max(value, kFloor * largest);
  for (const double strength : strength_grid()) {
    if (strength == 0) continue;
    std::vector<float> scales;
    for (const float value : mean)
      scales.push_back(static_cast<float>(std::pow(double{value}, strength)));
    center_scales(scales);
    candidates.push_back({strength, site.expanded(scales)});
  }
  return candidates;
}

ClipRatios search_clips(const SiteWeights& weights, const InputStatistics& inputs,
                        const std::vector<float>& columns, std::int64_t group_size,
                        ThreadPool& threads) {
  const auto group = static_cast<std::size_t>(group_size);
  const std::size_t num_groups = columns.size() / group;
  ClipRatios clip;
  clip.group_size = group_size;
  clip.steps.resize(static_cast<std::size_t>(weights.num_rows()) * num_groups);
  for (std::size_t g = 0; g < num_groups; ++g) {
    const auto moments = second_moments(inputs, columns, g * group, group, threads);
    threads.for_ranges(weights.num_rows(), 1, [&](std::int64_t begin, std::int64_t end, int) {
      GroupClipper clipper(group);
      for (std::int64_t n = begin; n < end; ++n) {
        weights.read(n, static_cast<std::int64_t>(g * group), clipper.weights());
        for (std::size_t i = 0; i < group; ++i) clipper.weights()[i] *= columns[g * group + i];
        clip.steps[static_cast<std::size_t>(n) * num_groups + g] = clipper.best_steps(moments);
      }
    });
  }
  return clip;
}

}  // namespace iol
