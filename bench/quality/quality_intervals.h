#pragma once
// How sure a figure of quality is: 95 % intervals by the bootstrap over windows.
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>

namespace iol::bench {

struct Quality;
struct WindowQuality;

struct ConfidenceInterval {
  double low = 0;
  double high = 0;
};

struct QualityIntervals {
  ConfidenceInterval perplexity;
  // Against a reference only:
  std::optional<ConfidenceInterval> kl_divergence_nats;
  std::optional<ConfidenceInterval> top1_agreement;
  std::optional<ConfidenceInterval> perplexity_ratio;  // paired: both models on the same windows
};

inline constexpr int kLeastWindows = 5;
inline constexpr int kNumResamples = 1000;

/// Draws as many windows as there are, with replacement, kNumResamples times (window i of resample
/// r is below(n) of stream r of the seed), and takes the 2.5 % and 97.5 % percentiles of each
/// figure, interpolated linearly. Sums are taken before the division, so a shorter last window
/// weighs less. Nothing for fewer than kLeastWindows windows: too few to say anything. Source: B.
/// Efron, R. Tibshirani, "An Introduction to the Bootstrap" (1993), ch. 13.
std::optional<QualityIntervals> quality_intervals(std::span<const WindowQuality> windows,
                                                  bool has_reference, std::uint64_t seed);

/// {perplexity, perplexity_ci95, ...}: what `iol eval` and the quality records say. Intervals are
/// [low, high], or null with `interval_note`; figures against a reference are null without one.
nlohmann::json quality_json(const Quality& quality);

}  // namespace iol::bench
